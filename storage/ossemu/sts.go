package ossemu

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"mime"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxForm is how much of a form is read: a policy of 2,048 characters, each
// three bytes and each of those encoded, is 18 KiB.
const maxForm = 64 << 10

// sessionNameForm is that of "AssumeRole": 2 to 64 of these characters. (Older
// pages say 32.)
var sessionNameForm = regexp.MustCompile(`^[A-Za-z0-9.@_-]{2,64}$`)

// serveSTS answers STS's RPC interface of 2015-04-01: AssumeRole and
// GetCallerIdentity. It must be given its paths as they are; which one it was is
// no part of a signature (the RPC signature has "/" in any case).
func (a *authority) serveSTS(w http.ResponseWriter, r *http.Request) {
	q, f := stsParams(w, r)
	out := answer{requestID: newRequestID(), host: r.Host, json: strings.EqualFold(q.get("Format"), "JSON")}
	var result any
	if f == nil {
		result, f = a.callSTS(r.Method, q)
	}
	if f != nil {
		// The parameters hold signatures and tokens: none of them is logged.
		a.log.Info("STS refused a call", "action", q.get("Action"), "code", f.code, "status", f.status, "request_id", out.requestID)
		out.fault(w, f)
		return
	}
	out.result(w, q.get("Action"), result)
}

// stsParams merges query and form, as the SDKs send: alibaba-cloud-sdk-go all in
// the query of a POST, ali-oss and aliyun-sdk all in its form.
func stsParams(w http.ResponseWriter, r *http.Request) (params, *fault) {
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		return nil, stsFault(http.StatusBadRequest, "UnsupportedHTTPMethod", "The HTTP method must be GET or POST.")
	}
	q, err := parseParams(r.URL.RawQuery)
	if err != nil {
		return q, stsFault(http.StatusBadRequest, "InvalidParameter", "The query can't be read: "+err.Error()+".")
	}
	if r.Method == http.MethodPost {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxForm))
		if err != nil {
			return q, stsFault(http.StatusBadRequest, "InvalidParameter", "The form can't be read, or is too long.")
		}
		if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); len(body) > 0 && kind != "application/x-www-form-urlencoded" {
			return q, stsFault(http.StatusBadRequest, "InvalidParameter", "A body must be application/x-www-form-urlencoded.")
		}
		form, err := parseParams(string(body))
		if err != nil {
			return q, stsFault(http.StatusBadRequest, "InvalidParameter", "The form can't be read: "+err.Error()+".")
		}
		q = append(q, form...)
	}
	seen := map[string]bool{}
	for _, p := range q {
		// What is verified and what is done must be the same one.
		if seen[p.name] {
			return q, stsFault(http.StatusBadRequest, "InvalidParameter", "The parameter "+p.name+" is there twice.")
		}
		seen[p.name] = true
	}
	return q, nil
}

// callSTS checks the caller and does what he asks.
func (a *authority) callSTS(method string, q params) (any, *fault) {
	for _, name := range []string{"Action", "Version", "AccessKeyId", "Timestamp", "SignatureNonce", "SignatureMethod", "SignatureVersion", "Signature"} {
		if q.get(name) == "" {
			return nil, stsFault(http.StatusBadRequest, "Missing"+name, name+" is mandatory for this action.")
		}
	}
	action := q.get("Action")
	switch {
	case q.any("Format") && !strings.EqualFold(q.get("Format"), "JSON") && !strings.EqualFold(q.get("Format"), "XML"):
		return nil, stsFault(http.StatusBadRequest, "InvalidParameter.Format", "The parameter Format must be JSON or XML.")
	case q.get("Version") != "2015-04-01" || action != "AssumeRole" && action != "GetCallerIdentity":
		return nil, stsFault(http.StatusNotFound, "InvalidAction.NotFound", "Specified api is not found, please check your url and method.")
	case q.get("SignatureMethod") != "HMAC-SHA1" || q.get("SignatureVersion") != "1.0":
		return nil, stsFault(http.StatusBadRequest, "InvalidParameter.SignatureMethod", "The signature must be HMAC-SHA1 of version 1.0.")
	}
	caller, f := a.identifyRPC(method, q)
	if f != nil {
		return nil, f
	}
	if action == "GetCallerIdentity" {
		return a.callerIdentity(caller), nil
	}
	return a.assumeRole(caller, q)
}

// identifyRPC verifies an RPC signature ("RPC signatures"; sdk/auth/
// rpc_signature_composer.go of alibaba-cloud-sdk-go): of every parameter but the
// signature, those with an empty value too.
func (a *authority) identifyRPC(method string, q params) (identity, *fault) {
	// ali-oss sends milliseconds, others none; time.Parse takes both.
	t, err := time.Parse("2006-01-02T15:04:05Z", q.get("Timestamp"))
	if err != nil {
		return identity{}, stsFault(http.StatusBadRequest, "InvalidTimeStamp.Format", "Specified time stamp or date value is not well formatted.")
	}
	now := a.now()
	if d := now.Sub(t); d > maxSkew || d < -maxSkew {
		return identity{}, stsFault(http.StatusBadRequest, "InvalidTimeStamp.Expired", "Specified time stamp or date value is expired.")
	}
	keyID, token := q.get("AccessKeyId"), q.get("SecurityToken")
	id, secret := identity{keyID: keyID}, a.secret
	switch {
	case keyID == a.keyID && token == "":
	case keyID == a.keyID:
		return identity{}, stsFault(http.StatusBadRequest, "InvalidSecurityToken.MismatchWithAccessKey", "Specified SecurityToken mismatch with the AccessKey.")
	case !strings.HasPrefix(keyID, sessionIDPrefix):
		return identity{}, stsFault(http.StatusNotFound, "InvalidAccessKeyId.NotFound", "Specified access key is not found.")
	case token == "":
		return identity{}, stsFault(http.StatusBadRequest, "MissingSecurityToken", "SecurityToken is mandatory for this action.")
	default:
		if id.session, err = a.openToken(token); err != nil {
			return identity{}, stsFault(http.StatusBadRequest, "InvalidSecurityToken.Malformed", "Specified SecurityToken is malformed.")
		}
		if id.session.keyID != keyID {
			return identity{}, stsFault(http.StatusBadRequest, "InvalidSecurityToken.MismatchWithAccessKey", "Specified SecurityToken mismatch with the AccessKey.")
		}
		if id.session.ended(now) {
			return identity{}, stsFault(http.StatusBadRequest, "InvalidSecurityToken.Expired", "Specified SecurityToken is expired.")
		}
		secret = a.secretOfSession(keyID)
	}
	text := stringToSignRPC(method, q)
	if !hmac.Equal([]byte(signRPC(secret, text)), []byte(q.get("Signature"))) {
		// alibaba-cloud-sdk-go compares what follows the last colon with its own
		// (sdk/errors/signature_does_not_match_wrapper.go).
		return identity{}, stsFault(http.StatusBadRequest, "SignatureDoesNotMatch", "Specified signature is not matched with our calculation. server string to sign is:"+text)
	}
	// Only after the signature: a stranger can neither use a nonce up nor fill
	// the memory.
	if !a.nonces.use(keyID, q.get("SignatureNonce"), now) {
		return identity{}, stsFault(http.StatusBadRequest, "SignatureNonceUsed", "Specified signature nonce was used already.")
	}
	return id, nil
}

func stringToSignRPC(method string, q params) string {
	sorted := slices.Clone(q)
	slices.SortFunc(sorted, func(a, b param) int { return strings.Compare(a.name, b.name) })
	var pairs []string
	for _, p := range sorted {
		if p.name != "Signature" {
			pairs = append(pairs, percentEncode(p.name)+"="+percentEncode(p.value))
		}
	}
	return method + "&%2F&" + percentEncode(strings.Join(pairs, "&"))
}

func signRPC(secret, stringToSign string) string {
	h := hmac.New(sha1.New, []byte(secret+"&"))
	h.Write([]byte(stringToSign))
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

// assumeRole makes a session ("AssumeRole").
func (a *authority) assumeRole(caller identity, q params) (any, *fault) {
	if !a.calls.take(a.now()) {
		return nil, stsFault(http.StatusBadRequest, "Throttling.User", "Request was denied due to user flow control.")
	}
	if caller.session != nil {
		return nil, stsFault(http.StatusForbidden, "NoPermission", "You are not authorized to do this action. You should be authorized by RAM.")
	}
	for _, name := range []string{"RoleArn", "RoleSessionName"} {
		if q.get(name) == "" {
			return nil, stsFault(http.StatusBadRequest, "Missing"+name, name+" is mandatory for this action.")
		}
	}
	arn, name := q.get("RoleArn"), q.get("RoleSessionName")
	switch {
	case !roleForm.MatchString(arn):
		return nil, stsFault(http.StatusBadRequest, "InvalidParameter.RoleArn", "The parameter RoleArn is wrongly formed.")
	case arn != a.role.String():
		return nil, stsFault(http.StatusNotFound, "EntityNotExist.Role", "The specified Role not exists: "+arn+".")
	case !sessionNameForm.MatchString(name):
		return nil, stsFault(http.StatusBadRequest, "InvalidParameter.RoleSessionName", "The parameter RoleSessionName is wrongly formed.")
	}
	ttl := min(time.Hour, a.maxSession)
	if q.any("DurationSeconds") {
		seconds, err := strconv.Atoi(q.get("DurationSeconds"))
		if ttl = time.Duration(seconds) * time.Second; err != nil || seconds < int(minSession/time.Second) || seconds > int(a.maxSession/time.Second) {
			return nil, stsFault(http.StatusBadRequest, "InvalidParameter.DurationSeconds",
				fmt.Sprintf("The Min/Max value of DurationSeconds is %d/%d.", int(minSession/time.Second), int(a.maxSession/time.Second)))
		}
	}
	var document *string
	if q.any("Policy") {
		text := q.get("Policy")
		if _, err := parsePolicy(text); err != nil {
			return nil, stsFault(http.StatusBadRequest, "InvalidParameter.PolicyGrammar", "The parameter Policy has not passed grammar check: "+err.Error()+".")
		}
		document = &text
	}
	s, secret, token, err := a.newSession(name, ttl, document)
	if err != nil {
		a.log.Error("STS could not make a session", "error", err)
		return nil, stsFault(http.StatusInternalServerError, "InternalError", "The request processing has failed due to some unknown error.")
	}
	return assumedRole{
		AssumedRoleUser: assumedRoleUser{Arn: a.role.String() + "/" + name, AssumedRoleID: a.roleID() + ":" + name},
		Credentials: credentials{
			AccessKeyID: s.keyID, AccessKeySecret: secret, SecurityToken: token,
			Expiration: s.expires.UTC().Format("2006-01-02T15:04:05Z"),
		},
	}, nil
}

// callerIdentity says who signed ("GetCallerIdentity").
func (a *authority) callerIdentity(id identity) any {
	if id.session == nil {
		user := numberOf(a.role.account + "/" + a.keyID)
		return callerIdentity{
			IdentityType: "RAMUser", AccountID: a.role.account, UserID: user, PrincipalID: user,
			Arn: "acs:ram::" + a.role.account + ":user/" + a.keyID,
		}
	}
	return callerIdentity{
		IdentityType: "AssumedRoleUser", AccountID: a.role.account, RoleID: a.roleID(),
		PrincipalID: a.roleID() + ":" + id.session.name,
		Arn:         "acs:ram::" + a.role.account + ":assumed-role/" + a.role.name + "/" + id.session.name,
	}
}

// roleID is the number that RAM gives to a role, here made from its name.
func (a *authority) roleID() string { return numberOf(a.role.String()) }

// numberOf makes an identifier of 18 digits, always the same for the same name.
func numberOf(name string) string {
	sum := sha256.Sum256([]byte(name))
	return strconv.FormatUint(1e17*3+binary.BigEndian.Uint64(sum[:])%1e17, 10)
}

func stsFault(status int, code, message string) *fault {
	return &fault{status: status, code: code, message: message}
}
