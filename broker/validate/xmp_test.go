package validate

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/uploadbroker/uploadbroker/broker"
)

const djiXMP = `<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="DJI Meta Data" drone-dji:GimbalPitchDegree="-89.90" drone-dji:GimbalRollDegree = '+0.00'
   xmlns:drone-dji="http://www.dji.com/drone-dji/1.0/" other:RelativeAltitude="9" drone-dji:FlightYawDegree="1" drone-dji:AbsoluteAltitude="+198.31">
   <!-- > <drone-dji:RelativeAltitude>7</drone-dji:RelativeAltitude> -->
   <drone-dji:GimbalYawDegree>+45.50</drone-dji:GimbalYawDegree>
   <drone-dji:RelativeAltitude> +39.80
   </drone-dji:RelativeAltitude>
  </rdf:Description>
 </rdf:RDF></x:xmpmeta>`

func TestXMP(t *testing.T) {
	m := noise(20, 20)
	p := pngFile(t, m)
	segment := append([]byte("http://ns.adobe.com/xap/1.0/\x00"), djiXMP...)
	j := jpegFile(t, m)
	j = slices.Concat(j[:2], []byte{0xFF, 0xE1}, binary.BigEndian.AppendUint16(nil, uint16(len(segment)+2)), segment, j[2:])
	w := testdata(t, "lossless.webp")
	w = append(binary.LittleEndian.AppendUint32(append(w, "XMP "...), uint32(len(djiXMP))), djiXMP...)
	w = append(w, make([]byte, len(w)&1)...)
	binary.LittleEndian.PutUint32(w[4:], uint32(len(w)-8))
	for name, b := range map[string][]byte{
		"jpeg": j,
		"png":  slices.Concat(p[:33], pngChunk("iTXt", []byte("XML:com.adobe.xmp\x00\x00\x00\x00\x00"+djiXMP)), p[33:]),
		"webp": w,
	} {
		f := judge(t, b, recon()).Facts
		if f.Gimbal == nil || *f.Gimbal != (broker.Gimbal{Pitch: -89.9, Roll: 0, Yaw: 45.5}) || f.RelAltM == nil || *f.RelAltM != 39.8 || f.GPS != nil {
			t.Errorf("%s: %+v", name, f)
		}
	}
	var f broker.Facts
	f.GPS = &broker.GPS{Lat: 1, Lon: 2}
	readXMP([]byte(djiXMP)).fill(&f)
	if f.GPS.Alt == nil || *f.GPS.Alt != 198.31 {
		t.Errorf("%+v", f.GPS)
	}
	readXMP([]byte(strings.ReplaceAll(djiXMP, "198.31", "7"))).fill(&f)
	if *f.GPS.Alt != 198.31 {
		t.Error("the first altitude is not kept")
	}
	for _, other := range []string{
		strings.ReplaceAll(djiXMP, "www.dji.com", "other"), strings.ReplaceAll(djiXMP, "-89.90", "NaN"), strings.ReplaceAll(djiXMP, "+45.50", "1e999"), strings.ReplaceAll(djiXMP, "+45.50", "+445.5"),
		djiXMP[:400], strings.ReplaceAll(djiXMP, "-89.90", strings.Repeat("9", 1000)),
	} {
		var f broker.Facts
		if readXMP([]byte(other)).fill(&f); f.Gimbal != nil {
			t.Errorf("%+v", f.Gimbal)
		}
	}
}
