// Explains a model ref while it is typed. What is right is judged by the gateway; this only tells what was understood.

const HUB_PAGE = /^(?:https?:\/\/)?(?:www\.)?(?:huggingface\.co|hf\.co)\/([^?#\s]*)(?:\?([^#\s]*))?/i;
const HUB = /^(?:hf:(?:\/\/)?|modelscope:)([^/@:\s]*)(?:\/([^/@:\s]*))?(?:@([^:\s]*))?(?::(\S*))?$/;
const WEB = /^https?:\/\/([^/?#@\s]+)(\/[^?#\s]*)?([?#].*)?$/;
const BUCKET = /^s3:\/\/([^/\s]*)(?:\/(.*))?$/;
const REGISTRY = /^([^/\s]*)(?:\/([^:@\s]*))?(?::([^@\s]*))?(?:@(\S*))?$/;
const OLLAMA = /^(?:([^/:@\s]*)\/)?([^/:@\s]*)(?::([^/:@\s]*))?$/;
const NO_MODELS = [
  "api", "blog", "buckets", "collections", "datasets", "docs", "learn", "organizations", "papers", "posts", "spaces",
];
const FILE_LISTS = ["tree", "blob", "resolve", "raw", "blame", "commit", "commits"];

// Pairs of a part's name and what stands for it; empty where nothing can be said yet.
export function explain(text) {
  const ref = text.trim();
  if (!ref) return [];
  if (ref.startsWith("local:")) return [["Source", "a file on the volume"], ["Path", `local/${ref.slice(6)}`]];
  if (ref.startsWith("oci:")) return artifact(ref);
  if (ref.startsWith("ollama:")) return ofOllama(ref.slice(7));
  const object = BUCKET.exec(ref);
  if (object) return bucket(object.slice(1));
  const page = HUB_PAGE.exec(ref);
  const parts = page ? shownBy(page[1], page[2]) : HUB.exec(ref)?.slice(1);
  const file = page ? undefined : WEB.exec(ref);
  if (file) return web(file.slice(1));
  if (!parts) return [["Not understood yet", page ? "this page shows no files of a model" : "a ref begins with hf:, modelscope:, https:, s3:, oci:, ollama: or local:"]];
  const [owner, repository, revision, selector] = parts;
  const there = ref.startsWith("modelscope:");
  return [
    ["Source", there ? "ModelScope" : "Hugging Face"],
    ["Owner", owner || "is missing"],
    ["Repository", repository || "is missing"],
    ["Revision", revision || (there ? "master" : "main")],
    selected(selector),
  ];
}

function web([host, path, rest]) {
  const found = [["Source", "a web server"], ["Host", host], ["File", path ? decoded(path.slice(1)) : "is missing"]];
  return rest ? [...found, ["Not allowed", "a query or a fragment: the query belongs into a Secret"]] : found;
}

function bucket([name, key]) {
  const found = [["Source", "a bucket"], ["Bucket", name || "is missing"]];
  if (key?.toLowerCase().endsWith(".gguf")) return [...found, ["Key", key]];
  const [prefix, selector] = key?.split(":") ?? [];
  if (prefix === undefined || (prefix && !prefix.endsWith("/"))) return [...found, ["Key", "ends with .gguf, and a prefix with a slash"]];
  return [...found, ["Prefix", prefix || "all of the bucket"], selected(selector)];
}

function artifact(ref) {
  const source = ["Source", "a registry"];
  const parts = ref.startsWith("oci://") && REGISTRY.exec(ref.slice(6));
  if (!parts) return [source, ["Not understood yet", "write oci://registry/repository:tag"]];
  const [host, repository, tag, digest] = parts.slice(1);
  const isHost = /[.:]/.test(host) || host === "localhost"; // else docker takes it for a name on Docker Hub
  if (!isHost && repository) return [source, ["Registry", `is missing: on Docker Hub it is oci://docker.io/${ref.slice(6)}`]];
  return [source, ["Registry", host || "is missing"], ["Repository", repository || "is missing"], ...pinned(tag, digest)];
}

function pinned(tag, digest) {
  if (digest === undefined) return [["Tag", tag || "latest"]];
  if (tag !== undefined) return [["Not allowed", "a tag and a digest: the digest is enough"]];
  return [["Digest", /^sha256:[0-9a-f]{64}$/.test(digest) ? digest : "sha256: and 64 hexadecimal digits"]];
}

function ofOllama(model) {
  const source = ["Source", "the Ollama registry"];
  const parts = OLLAMA.exec(model);
  if (!parts) return [source, ["Not understood yet", "write ollama:name:tag or ollama:namespace/name:tag; a model of Hugging Face is hf:owner/repository"]];
  const [namespace, name, tag] = parts.slice(1);
  return [source, ["Namespace", namespace === undefined ? "library" : namespace || "is missing"], ["Name", name || "is missing"], ["Tag", tag || "latest"]];
}

function selected(selector) {
  if (selector?.toLowerCase().endsWith(".gguf")) return ["File", selector];
  if (selector?.endsWith("/")) return ["Directory", `the model in ${selector}`];
  return ["Quantisation", selector || "Q4_K_M, else Q8_0, else the only one"];
}

// Owner, repository, revision and selector of a hub page; undefined where it shows no files. As in domain/refs/hub_pages.py.
function shownBy(address, query) {
  const [owner, named, list, ...rest] = address.split("/").filter(Boolean).map(decoded);
  if (NO_MODELS.includes(owner) || (list && !FILE_LISTS.includes(list))) return undefined;
  const [repository, tag] = (named ?? "").split(":");
  const revision = rest.splice(0, rest[0] === "refs" ? 3 : 1).join("/");
  const path = rest.join("/");
  const directory = path && !path.toLowerCase().endsWith(".gguf") ? `${path}/` : "";
  const file = new URLSearchParams(query ?? "").get("show_file_info");
  const opened = file && (file.startsWith(directory) ? file : directory + file);
  return [owner, repository, revision, tag || opened || directory || path];
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
