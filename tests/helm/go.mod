module sealift.dev/tests/helm

go 1.17

require helm.sh/helm/v3 v3.11.3

require (
	github.com/Masterminds/semver/v3 v3.2.0 // indirect
	github.com/pkg/errors v0.9.1 // indirect
	gopkg.in/yaml.v2 v2.4.0 // indirect
	sigs.k8s.io/yaml v1.3.0 // indirect
)
