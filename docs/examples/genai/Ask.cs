// Asks a folder of `edgephi export --layout genai` about an image and a recording: Microsoft.ML.OnnxRuntimeGenAI.
// dotnet run FOLDER IMAGE RECORDING
using System;
using Microsoft.ML.OnnxRuntimeGenAI;

using var model = new Model(args[0]);
using var processor = new MultiModalProcessor(model);
using var stream = processor.CreateStream();
using var images = Images.Load(new[] { args[1] });
using var audios = Audios.Load(new[] { args[2] });
const string prompt = "<|user|><|image_1|><|audio_1|><|end|><|assistant|>";
using var inputs = processor.ProcessImagesAndAudios(prompt, images, audios);
using var parameters = new GeneratorParams(model);
parameters.SetSearchOption("max_length", 4096);
using var generator = new Generator(model, parameters);
generator.SetInputs(inputs);
while (!generator.IsDone())
{
    generator.GenerateNextToken();
    Console.Write(stream.Decode(generator.GetNextTokens()[0]));
}
Console.WriteLine();
