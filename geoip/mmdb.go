package geoip

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"

	"github.com/oschwald/maxminddb-golang/v2"

	"github.com/uploadbroker/uploadbroker/broker"
)

// mmdb is a MaxMind DB of cities or countries, in memory.
type mmdb struct{ reader *maxminddb.Reader }

// record is what is read of an entry. The fields are those of MaxMind's City and
// Country databases, which other vendors' City and Country files share:
// https://dev.maxmind.com/geoip/docs/databases/city-and-country
type record struct {
	Country struct {
		Code string `maxminddb:"iso_code"`
	} `maxminddb:"country"`
	Location struct {
		Lat float64 `maxminddb:"latitude"`
		Lon float64 `maxminddb:"longitude"`
	} `maxminddb:"location"`
}

// probed is how many entries Open looks at to learn what a database knows. Real
// ones tell with their first.
const probed = 10_000

// openMMDB reads a file whole: a mapped one would end the program with a bus
// error when somebody copies a newer file over it.
func openMMDB(path string) (*mmdb, error) {
	data, err := readRegular(path)
	if err != nil {
		return nil, err
	}
	reader, err := maxminddb.OpenBytes(data)
	if err != nil {
		return nil, fault(path, notMMDB(data), err)
	}
	db := &mmdb{reader}
	if msg, err := db.probe(); msg != "" {
		return nil, fault(path, msg, err)
	}
	return db, nil
}

func fault(path, msg string, err error) error {
	return &broker.Error{Code: broker.CodeInvalid, Msg: fmt.Sprintf("mmdb %s: %s", path, msg), Err: err}
}

// readRegular refuses what is no file before it opens it: a pipe would wait.
func readRegular(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fault(path, "there is no such file; name a MaxMind DB, or leave geoip.mmdb out to know countries only", err)
	case err != nil:
		return nil, fault(path, "it can't be looked at; check the permissions of the file and its folders", err)
	case !info.Mode().IsRegular():
		return nil, fault(path, "it is no file; name the .mmdb file itself", nil)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fault(path, "it can't be opened; let the program's user read it", err)
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	if err != nil {
		return nil, fault(path, "it can't be read to its end", err)
	}
	return data, nil
}

// notMMDB says what a file is that is no MaxMind DB.
func notMMDB(data []byte) string {
	switch {
	case len(data) == 0:
		return "the file is empty; fetch it again"
	case bytes.HasPrefix(data, []byte{0x1f, 0x8b}), bytes.HasPrefix(data, []byte("PK\x03\x04")):
		return "the file is compressed; unpack it and name the .mmdb in it"
	}
	return "the file is no MaxMind DB, or is damaged or cut off; fetch it again"
}

// probe returns what keeps the database from being used; "" if nothing does. It
// goes by what the entries hold and not by the type's name, which each vendor
// chooses for himself.
func (db *mmdb) probe() (msg string, err error) {
	seen := 0
	for entry := range db.reader.Networks() {
		var r record
		if err := entry.Decode(&r); err != nil {
			var kind maxminddb.UnmarshalTypeError
			if !errors.As(err, &kind) {
				return "the file is damaged; fetch it again", err
			}
			// The name of a field with another meaning: one more sign of another kind.
		} else if r.Country.Code != "" || r.at() != nil {
			return "", nil
		}
		if seen++; seen == probed {
			break
		}
	}
	return fmt.Sprintf("it is a database of the kind %q, whose %d first entries hold neither country.iso_code nor location.latitude; take one of cities or countries",
		db.reader.Metadata.DatabaseType, seen), nil
}

// find returns the country and the location of an address, each only if it is
// known. An entry that can't be read counts as missing, and so does a v6 address
// in a database of v4: the compiled table is asked then.
func (db *mmdb) find(addr netip.Addr) (country string, at *broker.Location) {
	var r record
	entry := db.reader.Lookup(addr)
	if !entry.Found() || entry.Decode(&r) != nil {
		return "", nil
	}
	if IsCountry(r.Country.Code) { // XK, for one, is a code that some vendors made up
		country = r.Country.Code
	}
	return country, r.at()
}

// at is nil when the entry has no location. Some vendors write 0, 0 for that; it
// is open sea.
func (r *record) at() *broker.Location {
	at := broker.Location{Lat: r.Location.Lat, Lon: r.Location.Lon}
	if at == (broker.Location{}) || !onEarth(at) {
		return nil
	}
	return &at
}
