"""The collector: receives weekly reports, keeps only aggregates, closes each week into a release."""
