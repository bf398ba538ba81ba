package ossemu

// fault is a refusal, as OSS and STS tell it.
type fault struct {
	status  int    // of HTTP
	code    string // stable: NoSuchKey, SignatureDoesNotMatch
	message string
	ec      string      // OSS's finer code, for x-oss-ec; "" when it has none here
	more    [][2]string // further elements of the document, in order: StringToSign
}

func (f *fault) Error() string { return f.code + ": " + f.message }
