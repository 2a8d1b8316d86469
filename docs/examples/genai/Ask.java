// Asks a folder of `edgephi export --layout genai` about an image and a recording: com.microsoft.onnxruntime,
// onnxruntime-genai. java Ask FOLDER IMAGE RECORDING
import ai.onnxruntime.genai.Audios;
import ai.onnxruntime.genai.Generator;
import ai.onnxruntime.genai.GeneratorParams;
import ai.onnxruntime.genai.Images;
import ai.onnxruntime.genai.Model;
import ai.onnxruntime.genai.MultiModalProcessor;
import ai.onnxruntime.genai.NamedTensors;
import ai.onnxruntime.genai.TokenizerStream;

public final class Ask {
  public static void main(String[] arguments) throws Exception {
    String prompt = "<|user|><|image_1|><|audio_1|><|end|><|assistant|>";
    try (Model model = new Model(arguments[0]);
        MultiModalProcessor processor = new MultiModalProcessor(model);
        TokenizerStream stream = processor.createStream();
        Images images = new Images(arguments[1]);
        Audios audios = new Audios(arguments[2]);
        NamedTensors inputs = processor.processImagesAndAudios(prompt, images, audios);
        GeneratorParams parameters = new GeneratorParams(model)) {
      parameters.setSearchOption("max_length", 4096);
      try (Generator generator = new Generator(model, parameters)) {
        generator.setInputs(inputs);
        while (!generator.isDone()) {
          generator.generateNextToken();
          System.out.print(stream.decode(generator.getLastTokenInSequence(0)));
        }
      }
      System.out.println();
    }
  }
}
