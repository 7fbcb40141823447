package account

import (
	"os"
	"path/filepath"
	"testing"
)

func TestStoreChangesTheShellOfDevAlone(t *testing.T) {
	folder := t.TempDir()
	from, to := filepath.Join(folder, "from"), filepath.Join(folder, "to")
	text := "root:x:0:0:root:/root:/bin/sh\ndev:x:1000:1000:ann:/home/dev:/old/shell\nodd\n"
	if err := os.WriteFile(from, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Store(from, to, "/bin/bash"); err != nil {
		t.Fatal(err)
	}
	got, _ := os.ReadFile(to)
	want := "root:x:0:0:root:/root:/bin/sh\ndev:x:1000:1000:ann:/home/dev:/bin/bash\nodd\n"
	if string(got) != want {
		t.Fatalf("%q", got)
	}
	if err := Store(from+"none", to, "/bin/bash"); err == nil {
		t.Fatal("no error without the operator's file")
	}
	if kept, _ := os.ReadFile(to); string(kept) != want {
		t.Fatal("the file was emptied")
	}
}
