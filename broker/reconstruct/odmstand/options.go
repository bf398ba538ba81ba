package odmstand

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Option is one as a client sends it.
type Option struct {
	Name  string `json:"name"`
	Value any    `json:"value"`
}

type knownOption struct {
	Name   string `json:"name"`
	Type   string `json:"type"`
	Value  string `json:"value"`
	Domain any    `json:"domain"`
	Help   string `json:"help"`
}

// knownOptions are some of OpenDroneMap's, one of each kind.
var knownOptions = []knownOption{
	{"min-num-features", "int", "10000", "integer", "Minimum number of features to extract per image."},
	{"feature-quality", "enum", "high", []string{"ultra", "high", "medium", "low", "lowest"}, "Set feature extraction quality."},
	{"pc-quality", "enum", "medium", []string{"ultra", "high", "medium", "low", "lowest"}, "Set point cloud quality."},
	{"fast-orthophoto", "bool", "false", "", "Skips dense reconstruction and 3D model generation."},
	{"dsm", "bool", "false", "", "Use this tag to build a DSM."},
	{"orthophoto-resolution", "float", "5.0", "float > 0.0", "Orthophoto resolution in cm / pixel."},
	{"pc-rectify-threshold", "float", "0.5", "float: 0 <= x <= 1", "A threshold."},
	{"mesh-size", "int", "200000", "positive integer", "The maximum vertex count of the output mesh."},
	{"crop", "float", "3", "positive float", "Automatically crop image outputs."},
	{"video-resolution", "int", "4000", "integer >= 100", "The maximum output resolution of extracted video frames in pixels."},
	{"boundary", "string", "", "json", "GeoJSON polygon limiting the area of the reconstruction."},
	{"orthophoto-compression", "enum", "DEFLATE", []string{"JPEG", "LZW", "PACKBITS", "DEFLATE", "LZMA", "NONE"}, "Set the compression."},
	{"sm-cluster", "string", "None", "string", "URL to a ClusterODM instance."},
	{"max-concurrency", "int", "4", "positive integer", "The maximum number of processes to use."},
}

// filterOptions takes what is known, passes over what is not, and refuses values that
// don't fit.
func filterOptions(text string) ([]Option, error) {
	var asked, kept []Option
	if text != "" {
		if err := json.Unmarshal([]byte(text), &asked); err != nil {
			return nil, refusal("Unexpected token in JSON: " + err.Error())
		}
	}
	var faults []map[string]string
	for _, known := range knownOptions {
		i := slices.IndexFunc(asked, func(o Option) bool { return o.Name == known.Name })
		if i < 0 {
			continue
		}
		if fault := known.fault(fmt.Sprint(asked[i].Value)); fault != "" {
			faults = append(faults, map[string]string{"name": known.Name, "error": fault})
			continue
		}
		kept = append(kept, asked[i])
	}
	if len(faults) > 0 {
		said, err := json.Marshal(faults)
		if err != nil {
			return nil, err
		}
		return nil, refusal(said)
	}
	return kept, nil
}

func (k knownOption) fault(value string) string {
	if choices, ok := k.Domain.([]string); ok {
		if !slices.Contains(choices, value) {
			return "Invalid value " + value + " (not in enum)"
		}
		return ""
	}
	switch k.Type {
	case "bool":
		if value != "true" && value != "false" && value != "0" && value != "1" {
			return "Cannot convert " + value + " to boolean"
		}
	case "int", "float":
		number, err := strconv.ParseFloat(value, 64)
		domain, _ := k.Domain.(string)
		if err != nil || strings.HasPrefix(domain, "positive") && number < 0 || domain == "float > 0.0" && number <= 0 ||
			domain == "integer >= 100" && number < 100 || domain == "float: 0 <= x <= 1" && (number < 0 || number > 1) {
			return "Invalid value " + value + " (out of range)"
		}
	}
	return ""
}
