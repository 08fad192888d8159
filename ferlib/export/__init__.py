"""Export a trained network to ONNX, to ONNX with fewer bits per weight, and to TensorFlow Lite."""
