"""Where bytes come from: Kaggle, archives and folders, and drawn faces."""
