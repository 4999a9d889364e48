"""The operator: reconciles ModelDownloads and gives work to worker processes. It fetches no bytes itself."""
