"""The idioms of asyncio that every layer shares: cancellation, threads, background tasks, the clock."""
