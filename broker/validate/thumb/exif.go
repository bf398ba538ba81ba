package thumb

import "encoding/binary"

// SaysAdobeRGB reports whether an EXIF block (a TIFF structure) says that the
// picture is in Adobe RGB: DCF's "R03" in the interoperability directory.
func SaysAdobeRGB(exif []byte) bool {
	const tagExif, tagInterop, tagIndex = 0x8769, 0xA005, 1
	if len(exif) < 8 {
		return false
	}
	var order binary.ByteOrder = binary.BigEndian
	if exif[0] == 'I' {
		order = binary.LittleEndian
	}
	// value gives the value field of a directory's entry; nil when there is none.
	value := func(at uint32, tag uint16) []byte {
		if uint64(at)+2 > uint64(len(exif)) {
			return nil
		}
		d := exif[at:]
		n := int(order.Uint16(d))
		for d = d[2:]; n > 0 && len(d) >= 12; n, d = n-1, d[12:] {
			if order.Uint16(d) == tag {
				return d[8:12]
			}
		}
		return nil
	}
	at := exif[4:8]
	for _, tag := range []uint16{tagExif, tagInterop} {
		if at = value(order.Uint32(at), tag); at == nil {
			return false
		}
	}
	index := value(order.Uint32(at), tagIndex)
	return len(index) >= 3 && string(index[:3]) == "R03"
}
