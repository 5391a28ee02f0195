"""Export: plan and weights become ONNX files that run in int8, checked against the simulation."""
