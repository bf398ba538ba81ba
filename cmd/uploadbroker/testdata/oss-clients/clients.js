'use strict';

// A program in the field: node clients.js FOLDER <job.json
//
// FOLDER is where npm put the packages. The job comes on stdin:
//
//   {"client": "ali-oss" | "aliyun-sdk", "v4": true, "path_style": true,
//    "endpoint": "http://…", "region": "cn-hangzhou", "bucket": "…", "part_size": 1048576,
//    "steps": [{"do": "put", "key": "…", "from": "…", "file": "/a/file",
//               "session": {"id", "secret", "token"}, "tamper": true}]}
//
// Each step is one thing that such a program tries, and answers with one line:
// {"ok", "status", "code", "message"}, of the server's refusal when it was one.
// It ends with 1 when a job can't be run at all.

const fs = require('fs');
const http = require('http');
const path = require('path');
const { createRequire } = require('module');

const installed = createRequire(path.join(path.resolve(process.argv[2]), 'package.json'));
const job = JSON.parse(fs.readFileSync(0, 'utf8'));
const load = (file) => fs.readFileSync(file);

// A signature is tampered with on its way: both packages send by node's http.
let tampering = false;
function tampered(authorization) {
  // The first character of the signature becomes another of its alphabet.
  return authorization.replace(/(OSS [^:]+:|Signature=)(.)/, (_, before, c) => before + (c === 'a' ? 'b' : 'a'));
}
const request = http.request;
http.request = function (...args) {
  const headers = args.find((a) => a && a.headers)?.headers;
  for (const name of Object.keys(headers || {})) {
    if (tampering && name.toLowerCase() === 'authorization') headers[name] = tampered(headers[name]);
  }
  return request.apply(this, args);
};

function client() {
  const common = { load, bucket: job.bucket, partSize: job.part_size, v4: job.v4 };
  if (job.client === 'ali-oss') {
    const OSS = installed('ali-oss');
    const { aliOSSSteps, aliOSSOptions, aliOSSRefusal } = require('./ali-oss.js');
    const open = (session) => new OSS(aliOSSOptions(job, session));
    return { run: aliOSSSteps({ ...common, open, source: (file) => file }), refusal: aliOSSRefusal };
  }
  if (job.client === 'aliyun-sdk') {
    const ALY = installed('aliyun-sdk');
    const { aliyunSDKSteps, aliyunSDKOptions, aliyunSDKRefusal } = require('./aliyun-sdk.js');
    const open = (session) => new ALY.OSS(aliyunSDKOptions(job, session));
    return { run: aliyunSDKSteps({ ...common, open }), refusal: aliyunSDKRefusal };
  }
  throw new Error(`no such client: ${job.client}`);
}

async function main() {
  const { run, refusal } = client();
  for (const step of job.steps) {
    tampering = Boolean(step.tamper);
    let answer = { ok: true, status: 200, code: '', message: '' };
    try {
      await run(step);
    } catch (err) {
      answer = refusal(err);
    }
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  }
}

main().catch((err) => {
  console.error(err);
  process.exitCode = 1;
});
