// Command pulumi-resource-kubernetes serves Pulumi's Kubernetes provider.
//
// The provider's own main embeds a generated copy of its schema that the published module leaves out, so
// this one embeds the copy that the toolchain derives from the module's schema.json before the build.
package main

import (
	_ "embed"

	"github.com/pulumi/pulumi-kubernetes/provider/v4/pkg/provider"
	"github.com/pulumi/pulumi-kubernetes/provider/v4/pkg/version"
)

//go:embed schema-embed.json
var schema []byte

//go:embed terraform-mapping-embed.json
var mapping []byte

func main() {
	provider.Serve("kubernetes", version.Version, schema, mapping)
}
