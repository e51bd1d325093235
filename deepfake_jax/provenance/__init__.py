"""What says that a file is synthetic: credentials, watermark, metadata, `verify`."""
