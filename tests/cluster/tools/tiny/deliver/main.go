// deliver puts kubectl where the launcher of an MPIJob v1 looks for it: $TARGET_DIR, as the training operator sets it.
package main

import (
	"io"
	"log"
	"os"
	"path/filepath"
)

func main() {
	target := os.Getenv("TARGET_DIR")
	if target == "" {
		target = "/opt/kube"
	}
	if err := deliver("/bin/kubectl", filepath.Join(target, "kubectl")); err != nil {
		log.Fatal(err)
	}
}

func deliver(from, to string) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	if _, err = io.Copy(target, source); err != nil {
		return err
	}
	return target.Close()
}
