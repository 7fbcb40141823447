package runs

import (
	"bytes"
	"errors"
	"os"
	"syscall"
)

// overwrite writes a text over a file that is as long or longer, without asking for room. Blanks fill the rest.
func overwrite(path string, text []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if blanks := info.Size() - int64(len(text)); !info.Mode().IsRegular() || blanks < 0 || info.Size() > maxRecord {
		return errors.New("there is no room for the record")
	} else {
		text = append(text, bytes.Repeat([]byte{' '}, int(blanks))...)
	}
	if _, err := file.WriteAt(text, 0); err != nil {
		return err
	}
	return file.Sync()
}
