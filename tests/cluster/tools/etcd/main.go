// etcd from its Go module: the server module's own go.mod points at folders beside it, so it is built as a dependency.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
