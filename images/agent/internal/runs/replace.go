package runs

import (
	"bytes"
	"errors"
	"os"
	"syscall"
)

// replace writes a file beside another one and puts it into its place.
func replace(path string, text []byte) error {
	part := path + ".new"
	_ = os.Remove(part)
	file, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(part, path)
	}
	if err != nil {
		_ = os.Remove(part)
	}
	return err
}

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
