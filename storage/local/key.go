package local

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// keyPair are the gateway's credentials. They never leave the machine: clients
// only see the id, in signed URLs.
type keyPair struct {
	ID     string `json:"access_key_id"`
	Secret string `json:"access_key_secret"`
}

// loadKey reads the key file and makes it when there is none. Of several
// processes that start at once one makes the file and all read the same.
func loadKey(path string) (keyPair, error) {
	k, err := readKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return k, err
	}
	k = keyPair{ID: "LOCAL" + strings.ToUpper(rand.Text()[:15]), Secret: rand.Text() + rand.Text()}
	data, err := json.Marshal(k)
	if err != nil {
		return k, err
	}
	if err := createWhole(path, append(data, '\n'), 0o600); err != nil {
		return k, fmt.Errorf("local: make the key file: %w", err)
	}
	return readKey(path)
}

func readKey(path string) (keyPair, error) {
	var k keyPair
	data, err := os.ReadFile(path)
	if err != nil {
		return k, fmt.Errorf("local: read the key file: %w", err)
	}
	if err := json.Unmarshal(data, &k); err != nil || len(k.ID) < 8 || len(k.Secret) < 16 {
		// No detail of the content: it is a secret.
		return k, fmt.Errorf("local: %s holds no key; remove it to have a new one made, which ends all signed URLs", path)
	}
	// A copied or restored file may have lost its mode. Where the file system
	// has no modes there is nothing to gain.
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o077 != 0 {
		_ = os.Chmod(path, 0o600)
	}
	return k, nil
}

// createWhole makes a file that appears with its whole content or not at all,
// and leaves one that is already there as it is.
func createWhole(path string, data []byte, mode fs.FileMode) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	// A link fails when the name is taken, which a rename would not.
	err = os.Link(f.Name(), path)
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil
	case err != nil:
		// Some file systems have no hard links (vfat, some network shares).
		// There O_EXCL decides who writes; a reader could see half a file.
		return createPlain(path, data, mode)
	}
	return syncDir(dir)
}

func createPlain(path string, data []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

// syncDir makes a folder's entries outlive a loss of power.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
