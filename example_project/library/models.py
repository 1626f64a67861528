from django.db import models


class Document(models.Model):
    path = models.CharField(max_length=500, unique=True)
    words = models.PositiveIntegerField()

    def __str__(self) -> str:
        return self.path


class WordCount(models.Model):
    document = models.ForeignKey(Document, on_delete=models.CASCADE, related_name="word_counts")
    word = models.CharField(max_length=100, db_index=True)
    count = models.PositiveIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["document", "word"], name="library_word_once")]

    def __str__(self) -> str:
        return f"{self.word}: {self.count}"
