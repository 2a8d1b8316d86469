// Transcribes a recording through the C API of onnxruntime-genai, with a folder of `edgephi export --layout genai`.
//
// build: cc transcribe.c -o transcribe LIBRARY/libonnxruntime-genai.so -Wl,-rpath,LIBRARY
// run:   transcribe FOLDER RECORDING
//
// The functions are declared here as ort_genai_c.h of the library's releases declares them; include that where you have
// it.
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef struct OgaResult OgaResult;
typedef struct OgaModel OgaModel;
typedef struct OgaMultiModalProcessor OgaMultiModalProcessor;
typedef struct OgaTokenizer OgaTokenizer;
typedef struct OgaTokenizerStream OgaTokenizerStream;
typedef struct OgaAudios OgaAudios;
typedef struct OgaNamedTensors OgaNamedTensors;
typedef struct OgaGeneratorParams OgaGeneratorParams;
typedef struct OgaGenerator OgaGenerator;

const char* OgaResultGetError(const OgaResult*);
OgaResult* OgaCreateModel(const char* folder, OgaModel**);
OgaResult* OgaCreateMultiModalProcessor(const OgaModel*, OgaMultiModalProcessor**);
OgaResult* OgaCreateTokenizer(const OgaModel*, OgaTokenizer**);
OgaResult* OgaCreateTokenizerStream(const OgaTokenizer*, OgaTokenizerStream**);
OgaResult* OgaLoadAudio(const char* path, OgaAudios**);
OgaResult* OgaProcessorProcessAudios(const OgaMultiModalProcessor*, const char* prompt, const OgaAudios*, OgaNamedTensors**);
OgaResult* OgaCreateGeneratorParams(const OgaModel*, OgaGeneratorParams**);
OgaResult* OgaGeneratorParamsSetSearchNumber(OgaGeneratorParams*, const char* name, double value);
OgaResult* OgaCreateGenerator(const OgaModel*, const OgaGeneratorParams*, OgaGenerator**);
OgaResult* OgaGenerator_SetInputs(OgaGenerator*, const OgaNamedTensors*);
bool OgaGenerator_IsDone(OgaGenerator*);
OgaResult* OgaGenerator_GenerateNextToken(OgaGenerator*);
OgaResult* OgaGenerator_GetNextTokens(const OgaGenerator*, const int32_t** tokens, size_t* count);
OgaResult* OgaTokenizerStreamDecode(OgaTokenizerStream*, int32_t token, const char** text);
void OgaDestroyModel(OgaModel*);
void OgaDestroyMultiModalProcessor(OgaMultiModalProcessor*);
void OgaDestroyTokenizer(OgaTokenizer*);
void OgaDestroyTokenizerStream(OgaTokenizerStream*);
void OgaDestroyAudios(OgaAudios*);
void OgaDestroyNamedTensors(OgaNamedTensors*);
void OgaDestroyGeneratorParams(OgaGeneratorParams*);
void OgaDestroyGenerator(OgaGenerator*);

#define CHECK(call)                                    \
  do {                                                 \
    OgaResult* result = (call);                        \
    if (result) {                                      \
      fprintf(stderr, "%s\n", OgaResultGetError(result)); \
      return 1;                                        \
    }                                                  \
  } while (0)

int main(int count, char** arguments) {
  if (count != 3) {
    fprintf(stderr, "usage: transcribe FOLDER RECORDING\n");
    return 2;
  }
  const char* prompt = "<|user|><|audio_1|>Transcribe the audio clip into text.<|end|><|assistant|>";
  OgaModel* model;
  OgaMultiModalProcessor* processor;
  OgaTokenizer* tokenizer;
  OgaTokenizerStream* stream;
  OgaAudios* audio;
  OgaNamedTensors* inputs;
  OgaGeneratorParams* parameters;
  OgaGenerator* generator;
  CHECK(OgaCreateModel(arguments[1], &model));
  CHECK(OgaCreateMultiModalProcessor(model, &processor));
  CHECK(OgaCreateTokenizer(model, &tokenizer));
  CHECK(OgaCreateTokenizerStream(tokenizer, &stream));
  CHECK(OgaLoadAudio(arguments[2], &audio));
  CHECK(OgaProcessorProcessAudios(processor, prompt, audio, &inputs));
  CHECK(OgaCreateGeneratorParams(model, &parameters));
  CHECK(OgaGeneratorParamsSetSearchNumber(parameters, "max_length", 2048));
  CHECK(OgaCreateGenerator(model, parameters, &generator));
  CHECK(OgaGenerator_SetInputs(generator, inputs));
  while (!OgaGenerator_IsDone(generator)) {
    const int32_t* tokens;
    size_t num_tokens;
    const char* text;
    CHECK(OgaGenerator_GenerateNextToken(generator));
    CHECK(OgaGenerator_GetNextTokens(generator, &tokens, &num_tokens));
    CHECK(OgaTokenizerStreamDecode(stream, tokens[0], &text));
    fputs(text, stdout);
    fflush(stdout);
  }
  putchar('\n');
  OgaDestroyGenerator(generator);
  OgaDestroyGeneratorParams(parameters);
  OgaDestroyNamedTensors(inputs);
  OgaDestroyAudios(audio);
  OgaDestroyTokenizerStream(stream);
  OgaDestroyTokenizer(tokenizer);
  OgaDestroyMultiModalProcessor(processor);
  OgaDestroyModel(model);
  return 0;
}
