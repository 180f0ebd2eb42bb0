// Pins where the definitions of other projects' kinds come from. Nothing is compiled: the files are read out of the
// downloaded modules, so that the manifests in docs/guides are checked by their publishers' own schemas.
module runai-operator.io/tests/guides/kinds

go 1.26.0

require (
	github.com/argoproj/argo-cd/v3 v3.1.9
	github.com/external-secrets/external-secrets v1.3.2
)
