package privatepg

import (
	"fmt"
	"maps"
	"os"
	"slices"
)

// arguments are the postmaster's. Settings travel here and not in
// postgresql.conf, where an operator's own edits live: these win.
func (h home) arguments(socketDir string, extra map[string]string) []string {
	settings := map[string]string{
		"listen_addresses":        "", // no network at all
		"port":                    port,
		"unix_socket_directories": socketDir,
		"unix_socket_permissions": "0700",
		"cluster_name":            "uploadbroker", // seen in ps

		"max_connections": "200",
		"shared_buffers":  "128MB",
		"huge_pages":      "off",
		// Short queries gain nothing from either, and parallel workers would
		// need more /dev/shm than a container has (64 MB).
		"jit":                             "off",
		"max_parallel_workers_per_gather": "0",

		"fsync":              "on",
		"full_page_writes":   "on",
		"synchronous_commit": "on",

		// Messages come through the pipe into the program's own log. Values
		// and statements stay out of them: they may hold what no log should.
		"logging_collector":       "off",
		"log_destination":         "stderr",
		"log_line_prefix":         "",
		"log_min_messages":        "warning",
		"log_min_error_statement": "panic",
		"log_error_verbosity":     "terse",
		"log_checkpoints":         "off",
		"log_statement":           "none",
		"lc_messages":             "C",
	}
	maps.Copy(settings, logSettings(h.pg))
	maps.Copy(settings, extra)
	args := []string{"-D", h.pg}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		args = append(args, "-c", fmt.Sprintf("%s=%s", name, settings[name]))
	}
	return args
}

// environment is what the server's processes see. Ours is not passed on: PG*
// variables would change the server, and secrets have no business there.
func environment() []string {
	env := []string{"LC_ALL=C", "PATH=/usr/local/bin:/usr/bin:/bin"}
	for _, name := range []string{"TZ", "LD_LIBRARY_PATH"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}
