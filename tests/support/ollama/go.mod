module model-provisioner.example/ollama

go 1.26.7

require (
	github.com/ollama/ollama v0.17.4
)
