package validate

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/uploadbroker/uploadbroker/broker"
)

// Seeded mutations of small pictures, each judged by this package and by djpeg of
// libjpeg-turbo. UPLOADBROKER_MUTATIONS is how many, 2,500 when it is not set.
//
// What djpeg refuses or warns of must be Invalid, each time. It is not asked what
// it thinks of needless bytes outside a scan, since drones write them, nor of what
// is only not implemented there. Where it is silent and this package is not, the
// reason must be one of stricter, with its explanation.

// libjpegWarnings are the messages of jerror.h that a warning may have (JWRN_), as
// far as decoding Huffman-coded pictures gives them.
var libjpegWarnings = regexp.MustCompile(`^(Corrupt JPEG data: .*|Premature end of JPEG file` +
	`|Inconsistent progression sequence for component .*|Invalid SOS parameters for sequential JPEG` +
	`|Unknown Adobe color transform code .*|Warning: unknown JFIF revision number .*)$`)

var (
	extraneous    = regexp.MustCompile(`^Corrupt JPEG data: \d+ extraneous bytes before marker 0x([0-9a-f]{2})$`)
	unimplemented = regexp.MustCompile(`^(Fractional sampling not implemented yet|Unsupported JPEG data precision 12|Maximum supported image dimension is .*` +
		`|Unsupported color conversion request|Bogus sampling factors.*)$`)
)

// stricter lists the reasons that this package has and djpeg does not, none of
// which a sound file gives.
var stricter = []struct {
	reason *regexp.Regexp
	why    string
}{
	{regexp.MustCompile(`the picture data near byte .* contradicts itself`),
		"libjpeg lets a run pass the end of its block, magnitudes be larger than T.81 tables F.1 and F.2 allow, a DC leave " +
			"the range of its samples and an end-of-band run its scan; where it is in a hurry it takes a bad code for a 0"},
	{regexp.MustCompile(`bytes of picture data are left over after the last`),
		"libjpeg calls surplus data behind a scan extraneous bytes; when they are no padding, a part of the picture is among them"},
	{regexp.MustCompile(`bytes are left over before the marker`),
		"libjpeg counts up to 7 bytes that it has read ahead before a restart marker and does not always say so; T.81 E.1.4 has none there"},
	{regexp.MustCompile(`bytes that belong to no segment|picture data outside a scan`),
		"libjpeg passes bytes between segments; that a writer puts zeros there is known, other bytes are parts of a damaged segment"},
	{regexp.MustCompile(`comes in two scans|a second time`),
		"libjpeg decodes a component again; T.81 B.2.3 and G.1.1.1.2 have each coefficient bit once"},
	{regexp.MustCompile(`ends without the scan of its component`),
		"libjpeg paints a component that never came as zeros"},
	{regexp.MustCompile(`uses a Huffman table that is not defined`),
		"libjpeg-turbo takes the tables of T.81 annex K for those that a file lacks, as video frames do; a file whose own tables " +
			"were lost is garbage then, and the interchange format carries its tables (T.81 B.2)"},
	{regexp.MustCompile(`a Huffman table of it is malformed`),
		"libjpeg looks at a table when a scan uses it"},
	{regexp.MustCompile(`its quantization table . has a zero`),
		"libjpeg multiplies by the zero; T.81 table B.4 begins at 1"},
	{regexp.MustCompile(`its height stands at byte`),
		"libjpeg passes DNL segments wherever they stand; T.81 B.2.5 has one place for it"},
	{regexp.MustCompile(`its frame header names component . twice`),
		"libjpeg-turbo takes the next component of that name; T.81 B.2.2 wants them different"},
	{regexp.MustCompile(`has the length [01]$`),
		"libjpeg takes a length that does not count itself for an empty segment; T.81 B.1.1.4 counts it"},
	{regexp.MustCompile(`the file is of no known kind`),
		"libjpeg passes bytes between the start marker and the first segment; a file that does not begin with FF D8 FF is a JPEG to no one else"},
}

func TestDifferential(t *testing.T) {
	djpeg := tool(t, "djpeg")
	count := 2500
	if s := os.Getenv("UPLOADBROKER_MUTATIONS"); s != "" {
		var err error
		if count, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	if testing.Short() {
		count = 200
	}
	pictures := soundPictures(t)
	for _, p := range pictures {
		if v := judge(t, p.file, recon()); !v.Sound() {
			t.Errorf("%s: %v", p.name, v.Reasons)
		}
		if o := ask(t, djpeg, p.file); len(o.faults) > 0 {
			t.Errorf("%s: djpeg says %v", p.name, o.faults)
		}
	}
	var (
		mu      sync.Mutex
		tally   = map[string]int{}
		explain = map[string]int{}
		missed  int
	)
	var wg sync.WaitGroup
	next := make(chan int)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for number := range next {
				r := rand.New(rand.NewPCG(uint64(number), 2026))
				p := pictures[number%len(pictures)]
				file, how := mutate(r, p.file)
				want := recon()
				want.MaxPixels = 4 << 20 // djpeg would paint what a damaged frame header asks for
				v := judge(t, file, want)
				if slices.Contains(codes(v), broker.ReasonTooManyPixels) {
					mu.Lock()
					tally["too large to ask"]++
					mu.Unlock()
					continue
				}
				o := ask(t, djpeg, file)
				mu.Lock()
				switch {
				case len(o.faults) > 0 && v.Sound():
					missed++
					t.Errorf("mutation %d of %s (%s): sound, and djpeg says %q", number, p.name, how, o.faults)
					keep(t, number, file)
				case len(o.faults) > 0:
					tally["refused by both"]++
					for _, f := range slices.Compact(o.faults) {
						explain["djpeg: "+digits.ReplaceAllString(f, "#")]++
					}
				case v.Sound():
					tally["sound for both"]++
				case o.unknown:
					tally["not implemented in djpeg"]++
				default:
					tally["refused only here"]++
					if o.bytes {
						tally["refused only here, and djpeg warns of extraneous bytes"]++
					}
					i := slices.IndexFunc(stricter, func(s struct {
						reason *regexp.Regexp
						why    string
					}) bool {
						return s.reason.MatchString(v.Reasons[0].Detail)
					})
					if i < 0 {
						t.Errorf("mutation %d of %s (%s): %v, and djpeg says nothing", number, p.name, how, v.Reasons)
						keep(t, number, file)
						break
					}
					explain["only here: "+stricter[i].reason.String()]++
				}
				mu.Unlock()
			}
		})
	}
	for i := range count {
		next <- i
	}
	close(next)
	wg.Wait()
	t.Logf("%d mutations, %d missed: %v", count, missed, tally)
	keys := []string{}
	for k, n := range explain {
		keys = append(keys, fmt.Sprintf("%6d %s", n, k))
	}
	slices.Sort(keys)
	t.Log("\n" + strings.Join(keys, "\n"))
}

var digits = regexp.MustCompile(`(0x)?[0-9a-f]*\d+`)

// keep writes a file that the two disagree on to where UPLOADBROKER_MUTANTS says.
func keep(t *testing.T, i int, file []byte) {
	if dir := os.Getenv("UPLOADBROKER_MUTANTS"); dir != "" {
		if err := os.WriteFile(filepath.Join(dir, strconv.Itoa(i)+".jpg"), file, 0o600); err != nil {
			t.Error(err)
		}
	}
}

// opinion is what djpeg says of a file.
type opinion struct {
	faults  []string // errors and warnings but for needless bytes outside a scan
	bytes   bool     // it warns of such
	unknown bool     // it can't say
}

// ask runs djpeg, whose exit code tells errors (1) from warnings (2). Only with
// three -verbose it prints every warning and not just the first.
func ask(t *testing.T, djpeg string, file []byte) opinion {
	cmd := exec.Command(djpeg, "-verbose", "-verbose", "-verbose", "-dct", "fast", "-nosmooth", "-outfile", os.DevNull)
	cmd.Stdin = bytes.NewReader(file)
	var out bytes.Buffer
	cmd.Stderr = &out
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return opinion{}
	case !errors.As(err, &exit) || exit.ExitCode() != 1 && exit.ExitCode() != 2:
		// What makes djpeg itself crash is no opinion; the program's absence is seen at once.
		return opinion{unknown: true}
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	var o opinion
	if last := lines[len(lines)-1]; exit.ExitCode() == 1 {
		if unimplemented.MatchString(last) {
			return opinion{unknown: true}
		}
		o.faults = append(o.faults, last)
	}
	known := false
	for _, line := range lines {
		if !libjpegWarnings.MatchString(line) {
			continue
		}
		known = true
		// Before a restart marker they are inside a scan, if there are restart intervals.
		if m := extraneous.FindStringSubmatch(line); m != nil && (m[1] < "d0" || m[1] > "d7" || !bytes.Contains(file, []byte{0xFF, 0xDD})) {
			o.bytes = true
			continue
		}
		o.faults = append(o.faults, line)
	}
	if !known && exit.ExitCode() == 2 {
		t.Errorf("djpeg warns of something that this test does not know:\n%s", out.String())
	}
	return o
}

// tool finds a program of libjpeg-turbo, which deploy/setup.sh installs. Without
// it the test is left out, unless REQUIRE lists "djpeg".
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if slices.Contains(strings.FieldsFunc(os.Getenv("REQUIRE"), func(r rune) bool { return r == ',' || r == ' ' }), "djpeg") {
		t.Fatalf("no %s: %v", name, err)
	}
	t.Skipf("no %s (Debian: libjpeg-turbo-progs), set REQUIRE=djpeg to make this a failure", name)
	return ""
}
