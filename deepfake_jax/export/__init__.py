"""Runs that leave home: ONNX, .dfm and StableHLO, each with a card of what it is."""
