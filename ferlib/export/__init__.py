"""Export a trained network: ONNX, ONNX with fewer bits per weight, TensorFlow Lite."""
