// Manifests that serve a ready model, one for each engine. Text in, text out: `app.js` shows and copies it.
//
// What comes from outside stands in quotes, with which a JSON string is a YAML one, and never in a comment. The path of
// the model is in no argument, where `$(…)` would be expanded: it comes from the catalog or from the operator's annotation.

const MOUNT = "/models";
// The author of a file writes the name of its base model, and `$(…)` would be expanded in an argument.
const ON_THE_HUB = /^\w[\w.-]*\/\w[\w.-]*$/;
const PORT = { "llama.cpp": 8080, Ollama: 11434, LocalAI: 8080, vLLM: 8000 };

// YAML 1.1 takes these for line breaks or for nothing; JSON leaves them as they are.
const quoted = (text) =>
  JSON.stringify(text).replace(/[\x7f-\x9f\u2028\u2029\ufeff]/g, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`);

export const annotation = ({ name }) => `models.rbee.dev/use: ${quoted(name)}`;
export const mounted = ({ path }) => `${MOUNT}/${path}`;

// One for each engine: how it is called, what it needs, and the text. `model` is one of GET /v1/models.
export function manifests(model) {
  const split = model.files.length > (model.projector ? 2 : 1);
  const tokenizer = ON_THE_HUB.test(model.base_model ?? "") ? ["--tokenizer", model.base_model] : [];
  const inOneFile = (engine) => (split ? `${engine} does not load a model in several files. ` : "");
  return [
    {
      engine: "llama.cpp, by annotation",
      note: "Needs injection.enabled in the chart's values. The pod is scheduled when the model is Ready.",
      text: annotated(model),
    },
    {
      engine: "llama.cpp, by hand",
      note: "The container starts when the catalog has the model.",
      text: byHand(model, "llama.cpp", "ghcr.io/ggml-org/llama.cpp:server", [
        "--host", "0.0.0.0", "--model", `${MOUNT}/$(MODEL_PATH)`, ...(model.projector ? ["--mmproj", `${MOUNT}/$(MODEL_PROJECTOR)`] : []),
      ]),
    },
    {
      engine: "Ollama",
      note: `${inOneFile("Ollama")}Needs views: [ollama] in the chart's values. ollama list shows its name for the model.`,
      text: ollama(model),
    },
    { engine: "LocalAI", note: "The ConfigMap tells LocalAI of the model.", text: localai(model) },
    {
      engine: "vLLM",
      note: `${inOneFile("vLLM")}Needs vLLM's GGUF plugin in the image. ${tokenizer.length ? "The header of the file names the original model, whose tokenizer vLLM fetches." : "Add --tokenizer=OWNER/REPOSITORY with the original model."}`,
      text: byHand(model, "vLLM", "vllm/vllm-openai:latest", ["--model", `${MOUNT}/$(MODEL_PATH)`, "--served-model-name", model.name, ...tokenizer], [
        "resources: {limits: {nvidia.com/gpu: 1}}",
      ]),
    },
  ];
}

function annotated(model) {
  const projector = model.projector
    ? fromField("MODEL_PROJECTOR", "metadata.annotations['models.rbee.dev/model-projector-0']")
    : [];
  return deployment(model, {
    annotations: [annotation(model), `models.rbee.dev/claim: ${quoted(model.claim)}`],
    container: [
      "image: ghcr.io/ggml-org/llama.cpp:server",
      args(["--host", "0.0.0.0", "--model", "$(MODEL_PATH)", ...(model.projector ? ["--mmproj", "$(MODEL_PROJECTOR)"] : [])]),
      ...(projector.length ? ["env:", ...projector] : []),
      ...port("llama.cpp"),
    ],
  });
}

function byHand(model, engine, image, given, more = []) {
  const { name, projector } = model;
  return deployment(model, {
    container: [
      `image: ${image}`,
      args(given),
      "env:",
      ...fromCatalog("MODEL_PATH", `${name}.path`),
      ...(projector && given.includes("--mmproj") ? fromCatalog("MODEL_PROJECTOR", `${name}.projector`) : []),
      ...port(engine),
      ...more,
      "volumeMounts:",
      `  - {name: models, mountPath: ${MOUNT}, readOnly: true}`,
    ],
    volumes: [claim(model)],
  });
}

function ollama(model) {
  return deployment(model, {
    container: [
      "image: ollama/ollama:latest",
      "env:",
      `  - {name: OLLAMA_MODELS, value: ${MOUNT}/views/ollama}`,
      '  - {name: OLLAMA_NOPRUNE, value: "1"}',
      "  - {name: HOME, value: /home/ollama}",
      ...port("Ollama", "/"),
      "volumeMounts:",
      `  - {name: models, mountPath: ${MOUNT}, readOnly: true}`,
      "  - {name: home, mountPath: /home/ollama}",
    ],
    volumes: [claim(model), "{name: home, emptyDir: {}}"],
  });
}

function localai(model) {
  const { name, namespace, path, projector } = model;
  const configuration = `${name}-localai`;
  return lines([
    "apiVersion: v1",
    "kind: ConfigMap",
    "metadata:",
    `  name: ${quoted(configuration)}`,
    `  namespace: ${quoted(namespace)}`,
    "data:",
    "  models.yaml: |",
    `    - name: ${quoted(name)}`,
    "      backend: llama-cpp",
    `      parameters: {model: ${quoted(path)}}`,
    ...(projector ? [`      mmproj: ${quoted(projector)}`] : []),
    "---",
  ]) + deployment(model, {
    container: [
      "image: localai/localai:latest",
      "env:",
      `  - {name: LOCALAI_MODELS_PATH, value: ${MOUNT}}`,
      "  - {name: LOCALAI_MODELS_CONFIG_FILE, value: /configuration/models.yaml}",
      ...port("LocalAI", "/readyz"),
      "volumeMounts:",
      `  - {name: models, mountPath: ${MOUNT}, readOnly: true}`,
      "  - {name: configuration, mountPath: /configuration, readOnly: true}",
    ],
    volumes: [claim(model), `{name: configuration, configMap: {name: ${quoted(configuration)}}}`],
  });
}

// In the namespace of the model, because a pod can use a claim of its own namespace only.
function deployment({ name, namespace }, { annotations = [], container, volumes = [] }) {
  return lines([
    "apiVersion: apps/v1",
    "kind: Deployment",
    "metadata:",
    `  name: ${quoted(name)}`,
    `  namespace: ${quoted(namespace)}`,
    "spec:",
    `  selector: {matchLabels: {app: ${quoted(name)}}}`,
    "  template:",
    "    metadata:",
    `      labels: {app: ${quoted(name)}}`,
    ...(annotations.length ? ["      annotations:", ...annotations.map((one) => `        ${one}`)] : []),
    "    spec:",
    "      containers:",
    "        - name: server",
    ...container.map((one) => `          ${one}`),
    ...(volumes.length ? ["      volumes:", ...volumes.map((one) => `        - ${one}`)] : []),
  ]);
}

const lines = (all) => all.map((line) => `${line}\n`).join("");
const args = (given) => `args: [${given.map(quoted).join(", ")}]`;
const claim = (model) => `{name: models, persistentVolumeClaim: {claimName: ${quoted(model.claim)}}}`;
const port = (engine, path = "/health") => [
  `ports: [{name: http, containerPort: ${PORT[engine]}}]`,
  `readinessProbe: {httpGet: {path: ${path}, port: http}}`,
];
const fromCatalog = (name, key) => [
  `  - name: ${name}`,
  `    valueFrom: {configMapKeyRef: {name: model-catalog, key: ${quoted(key)}}}`,
];
const fromField = (name, path) => [`  - name: ${name}`, `    valueFrom: {fieldRef: {fieldPath: ${quoted(path)}}}`];
