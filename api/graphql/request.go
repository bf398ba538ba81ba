package graphql

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/99designs/gqlgen/graphql"
)

// decode reads a request's body: JSON whatever its type is called, a form, or
// the query itself. On an error the status says what kind of fault it is; the
// error's text is for the caller.
func decode(contentType string, body []byte) (params *graphql.RawParams, status int, err error) {
	typ, opts, err := mime.ParseMediaType(contentType)
	if err != nil { // some send nonsense with a sound body
		typ, _, _ = strings.Cut(strings.ToLower(contentType), ";")
	}
	body = bytes.TrimPrefix(body, []byte("\ufeff"))
	start := bytes.TrimLeft(body, " \t\r\n")
	isJSON := len(start) > 0 && (start[0] == '{' || start[0] == '[')
	switch {
	case typ == "application/graphql":
		params, err = fromFields(url.Values{"query": {string(body)}})
	case typ == "multipart/form-data":
		params, err = fromParts(body, opts["boundary"])
	case typ == "application/x-www-form-urlencoded" && !isJSON: // curl calls everything so
		var fields url.Values
		if fields, err = url.ParseQuery(string(body)); err != nil {
			err = errors.New("the body is not a form: a % is not followed by two hexadecimal digits, or it has a semicolon")
		} else {
			params, err = fromFields(fields)
		}
	case isJSON, takesJSON(typ):
		params, err = fromJSON(body)
	default:
		return nil, http.StatusUnsupportedMediaType, errors.New("the body is of a type that is not taken; send JSON: {\"query\": \"…\", \"variables\": {…}}")
	}
	return params, http.StatusBadRequest, err
}

// takesJSON reports types under which a body that is no JSON is malformed, not
// of a wrong kind.
func takesJSON(typ string) bool {
	return typ == "" || typ == "text/plain" || typ == "application/x-www-form-urlencoded" ||
		typ == "application/json" || strings.HasSuffix(typ, "+json")
}

// errNoQuery says how a request looks.
func errNoQuery() error {
	return errors.New("there is no query; send {\"query\": \"…\", \"variables\": {…}}, or the form field query")
}

// fromJSON reads {"query", "variables", "operationName"}.
func fromJSON(body []byte) (*graphql.RawParams, error) {
	if err := checkText(body); err != nil {
		return nil, err
	}
	var in struct {
		Query         *string         `json:"query"`
		OperationName *string         `json:"operationName"`
		Variables     json.RawMessage `json:"variables"`
	}
	if start := bytes.TrimLeft(body, " \t\r\n"); len(start) > 0 && start[0] == '[' {
		return nil, errors.New("the body is a list; send one operation a request, or several aliased fields in one")
	}
	if err := json.Unmarshal(body, &in); err != nil {
		var misfit *json.UnmarshalTypeError
		if errors.As(err, &misfit) {
			return nil, errors.New("the JSON does not fit: " + misfit.Field + " can't be " + misfit.Value)
		}
		return nil, errors.New("the body is not JSON: " + err.Error())
	}
	if hasLoneSurrogate(body) {
		return nil, errLoneSurrogate()
	}
	params := &graphql.RawParams{}
	if in.OperationName != nil {
		params.OperationName = *in.OperationName
	}
	if in.Query == nil {
		return nil, errNoQuery()
	}
	return complete(params, *in.Query, in.Variables)
}

// fromFields reads the fields of a form or of an address.
func fromFields(fields url.Values) (*graphql.RawParams, error) {
	for _, name := range []string{"query", "variables", "operationName"} {
		if err := checkText([]byte(fields.Get(name))); err != nil {
			return nil, err
		}
	}
	params := &graphql.RawParams{OperationName: fields.Get("operationName")}
	return complete(params, fields.Get("query"), json.RawMessage(fields.Get("variables")))
}

// fromParts reads the fields of a multipart form.
func fromParts(body []byte, boundary string) (*graphql.RawParams, error) {
	if boundary == "" {
		return nil, errors.New("the form has no boundary; let the library that makes it set the Content-Type")
	}
	fields := url.Values{}
	parts := multipart.NewReader(bytes.NewReader(body), boundary)
	for {
		part, err := parts.NextPart()
		if err == io.EOF {
			return fromFields(fields)
		}
		if err != nil {
			return nil, errors.New("the form is malformed: a part or its end is missing")
		}
		value, err := io.ReadAll(part)
		if err != nil {
			return nil, errors.New("the form breaks off in the part " + part.FormName())
		}
		fields.Add(part.FormName(), string(value))
	}
}

// complete takes the query and reads the variables: an object, null, "", or an
// object as JSON text. PHP writes an empty object as [].
func complete(params *graphql.RawParams, query string, variables json.RawMessage) (*graphql.RawParams, error) {
	if strings.TrimSpace(query) == "" {
		return nil, errNoQuery()
	}
	var err error
	if params.Query, err = plainStrings(query); err != nil {
		return nil, err
	}
	variables = bytes.TrimSpace(variables)
	if len(variables) > 0 && variables[0] == '"' {
		var inner string
		if err := json.Unmarshal(variables, &inner); err != nil {
			return nil, errors.New("variables is not JSON: " + err.Error())
		}
		variables = bytes.TrimSpace([]byte(inner))
	}
	switch string(variables) {
	case "", "null", "[]":
		return params, nil
	}
	if !json.Valid(variables) {
		return nil, errors.New("variables is not JSON; send an object")
	}
	if hasLoneSurrogate(variables) {
		return nil, errLoneSurrogate()
	}
	dec := json.NewDecoder(bytes.NewReader(variables))
	dec.UseNumber() // a float64 would round large numbers
	if err := dec.Decode(&params.Variables); err != nil {
		return nil, errors.New("variables is no object; send {\"name\": value, …}")
	}
	return params, nil
}

// checkText refuses what is not UTF-8: encoding/json would put U+FFFD in its
// place, and store a name that no file has.
func checkText(text []byte) error {
	if !utf8.Valid(text) {
		return errors.New("the request is not UTF-8; a file whose name is not can't be named here")
	}
	return nil
}
