// A printed link carries its one-time code behind the #, which no server log and
// no Referer ever sees. It is traded by POST for a session.
const code = location.hash.slice(1);
if (code) {
  history.replaceState(null, "", location.pathname);
  document.getElementById("code").value = code;
  document.getElementById("key").required = false;
  document.getElementById("sign-in").submit();
}
