"""The ids that stand for rows of an image or audio: constants of onnxruntime-genai, not settings of its folders."""

IMAGE_SLOT, AUDIO_SLOT = 200010, 200011
