// The page of a job: a button that copies a traceback or JSON, with what is folded of it.
"use strict";
for (const box of navigator.clipboard ? document.querySelectorAll("[data-copy]") : []) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "taskq-copy";
  button.textContent = box.dataset.copy;
  button.addEventListener("click", async () => {
    const parts = [...box.querySelectorAll("pre")].map((part) => part.textContent);
    await navigator.clipboard.writeText(parts.join("\n"));
    button.textContent = box.dataset.copied;
    setTimeout(() => (button.textContent = box.dataset.copy), 2000);
  });
  const summary = box.querySelector(":scope > summary");
  summary ? summary.after(button) : box.prepend(button);
}
