// Prints what Ollama finds below OLLAMA_MODELS, as JSON: a list of the models that `ollama list` shows, with what `ollama show`
// reads of each. It is Ollama's own code (manifest, types/model, fs/gguf) without the server, which needs a C++ compiler.
//
// Used by tests/transfer/views/test_ollama_oracle.py; after server/routes.go (ListHandler) and server/images.go (GetModel).
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"sort"

	"github.com/ollama/ollama/fs/gguf"
	"github.com/ollama/ollama/manifest"
	"github.com/ollama/ollama/types/model"
)

type listed struct {
	Name         string            `json:"name"`
	Size         int64             `json:"size"`
	Config       model.ConfigV2    `json:"config"`
	Texts        map[string]string `json:"texts"`
	Architecture map[string]string `json:"architecture"`
}

func main() {
	manifests, err := manifest.Manifests(true)
	check(err)
	found := []listed{}
	for name, one := range manifests {
		found = append(found, read(name, one))
	}
	sort.Slice(found, func(i, j int) bool { return found[i].Name < found[j].Name })
	check(json.NewEncoder(os.Stdout).Encode(found))
}

func read(name model.Name, one *manifest.Manifest) listed {
	made := listed{name.DisplayShortest(), one.Size(), model.ConfigV2{}, map[string]string{}, map[string]string{}}
	config, err := one.Config.Open()
	check(err)
	defer config.Close()
	check(json.NewDecoder(config).Decode(&made.Config))
	for _, layer := range one.Layers {
		path, err := manifest.BlobsPath(layer.Digest)
		check(err)
		switch layer.MediaType {
		case "application/vnd.ollama.image.model", "application/vnd.ollama.image.projector":
			file, err := gguf.Open(path)
			check(err)
			made.Architecture[layer.MediaType] = file.KeyValue("general.architecture").String()
			file.Close()
		default:
			text, err := os.ReadFile(path)
			check(err)
			made.Texts[layer.MediaType] = string(text)
		}
	}
	return made
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
