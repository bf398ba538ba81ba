package ossemu

import (
	"crypto/rand"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
)

// assumedRole and callerIdentity are the answers of "AssumeRole" and
// "GetCallerIdentity". Every field is a string: alibaba-cloud-sdk-go asserts
// that without a check.
type assumedRole struct {
	RequestID       string `json:"RequestId" xml:"RequestId"`
	AssumedRoleUser assumedRoleUser
	Credentials     credentials
}

type assumedRoleUser struct {
	AssumedRoleID string `json:"AssumedRoleId" xml:"AssumedRoleId"`
	Arn           string
}

type credentials struct {
	SecurityToken   string
	AccessKeyID     string `json:"AccessKeyId" xml:"AccessKeyId"`
	AccessKeySecret string
	Expiration      string // UTC, no fraction
}

type callerIdentity struct {
	RequestID    string `json:"RequestId" xml:"RequestId"`
	IdentityType string
	AccountID    string `json:"AccountId" xml:"AccountId"`
	PrincipalID  string `json:"PrincipalId" xml:"PrincipalId"`
	UserID       string `json:"UserId,omitempty" xml:"UserId,omitempty"`
	RoleID       string `json:"RoleId,omitempty" xml:"RoleId,omitempty"`
	Arn          string
}

// stsError is how STS tells a refusal.
type stsError struct {
	XMLName   xml.Name `json:"-" xml:"Error"`
	RequestID string   `json:"RequestId" xml:"RequestId"`
	HostID    string   `json:"HostId" xml:"HostId"`
	Code      string
	Message   string
	Recommend string
}

// answer writes what STS says, in the form that was asked for: XML when none was,
// as the real one does.
type answer struct {
	requestID, host string
	json            bool
}

func (o answer) result(w http.ResponseWriter, action string, result any) {
	switch v := result.(type) {
	case assumedRole:
		v.RequestID = o.requestID
		result = v
	case callerIdentity:
		v.RequestID = o.requestID
		result = v
	}
	o.write(w, http.StatusOK, result, xml.StartElement{Name: xml.Name{Local: action + "Response"}})
}

func (o answer) fault(w http.ResponseWriter, f *fault) {
	o.write(w, f.status, stsError{
		RequestID: o.requestID, HostID: o.host, Code: f.code, Message: f.message,
		Recommend: "https://api.aliyun.com/troubleshoot?q=" + f.code + "&product=Sts&requestId=" + o.requestID,
	}, xml.StartElement{Name: xml.Name{Local: "Error"}})
}

func (o answer) write(w http.ResponseWriter, status int, document any, root xml.StartElement) {
	h := w.Header()
	h.Set("Cache-Control", "no-store") // it holds secrets
	h.Set("X-Acs-Request-Id", o.requestID)
	// An error from here on is the connection's: nobody is left to tell.
	if o.json {
		h.Set("Content-Type", "application/json;charset=utf-8")
		w.WriteHeader(status)
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		_ = e.Encode(document)
		return
	}
	h.Set("Content-Type", "text/xml;charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(xml.Header))
	_ = xml.NewEncoder(w).EncodeElement(document, root)
}

// newRequestID is a UUID in upper case.
func newRequestID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%X-%X-%X-%X-%X", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
