"""The statements that write down what came of messages: of jobs that an engine carries, and that are in no table."""
