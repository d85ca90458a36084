"""What `make mutants` does, step by step: who reaches which line, a sample of changes, the trial of one."""
