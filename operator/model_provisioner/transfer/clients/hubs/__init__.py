"""The APIs of hubs: Hugging Face and ModelScope."""
