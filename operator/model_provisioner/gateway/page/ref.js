// Explains a model ref while it is typed. What is right is judged by the gateway; this only tells what was understood.

const HUB_PAGE = /^https:\/\/huggingface\.co\/([^/\s]+)\/([^/\s?#]+)(?:\/(?:tree|blob|resolve)\/([^/\s?#]+)(?:\/([^\s?#]+))?)?/;
const HUB = /^hf:(?:\/\/)?([^/@:\s]*)(?:\/([^/@:\s]*))?(?:@([^:\s]*))?(?::(\S*))?$/;

// Pairs of a part's name and what stands for it; empty where nothing can be said yet.
export function explain(text) {
  const ref = text.trim();
  if (!ref) return [];
  if (ref.startsWith("local:")) return [["Source", "a file on the volume"], ["Path", `local/${ref.slice(6)}`]];
  const [, owner, repository, revision, selector] = HUB_PAGE.exec(ref) ?? HUB.exec(ref) ?? [];
  if (owner === undefined) return [["Not understood yet", "a ref begins with hf: or local:"]];
  return [
    ["Source", "Hugging Face"],
    ["Owner", owner || "is missing"],
    ["Repository", repository || "is missing"],
    ["Revision", revision || "main"],
    selector?.toLowerCase().endsWith(".gguf")
      ? ["File", selector]
      : ["Quantisation", selector || "Q4_K_M, else Q8_0, else the only one"],
  ];
}
