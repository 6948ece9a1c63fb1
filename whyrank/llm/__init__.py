"""Language models: the seam to the engines, the scheduler, the trace of calls, the token budget, and the engines."""
