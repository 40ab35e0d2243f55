//! The vendors' own SDKs, unmodified, as programs in Python that a test drives.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::skip;

/// Reads calls as JSON, makes them, and prints how each ended. Keys come by the environment.
const ALIBABA: &str = r#"
import importlib, json, os, sys

access_key, secret = os.environ["COFFER_AK"], os.environ["COFFER_SK"]
host, port = os.environ["COFFER_AT"].split(":")

def legacy(action, params):
    from aliyunsdkcore.acs_exception.exceptions import ClientException, ServerException
    from aliyunsdkcore.client import AcsClient
    name = action + "Request"
    request = getattr(importlib.import_module("aliyunsdkrds.request.v20140815." + name), name)()
    request.set_endpoint(host)
    for key, value in params.items():
        request.add_query_param(key, value)
    client = AcsClient(access_key, secret, "coffer-1", port=int(port))
    try:
        return {"body": json.loads(client.do_action_with_exception(request))}
    except ServerException as error:
        return {"status": error.get_http_status(), "code": error.get_error_code(), "message": error.get_error_msg()}
    except ClientException as error:
        return {"client": str(error)}

def tea(algorithm):
    def call(action, params):
        from alibabacloud_rds20140815 import models
        from alibabacloud_rds20140815.client import Client
        from alibabacloud_tea_openapi.models import Config
        from Tea.exceptions import TeaException
        config = Config(access_key_id=access_key, access_key_secret=secret, endpoint=host + ":" + port, protocol="HTTP")
        if algorithm:
            config.signature_algorithm = algorithm
        client = Client(config)
        method = next(name for name in dir(client) if name.replace("_", "") == action.lower())
        request = getattr(models, action + "Request")().from_map(params)
        try:
            return {"body": getattr(client, method)(request).body.to_map()}
        except TeaException as error:
            status = getattr(error, "status_code", None) or (error.data or {}).get("statusCode")
            return {"status": status, "code": error.code, "message": error.message}
    return call

SDKS = {"legacy": legacy, "tea": tea(None), "tea-v2": tea("v2")}
for line in sys.stdin:
    call = json.loads(line)
    print(json.dumps(SDKS[call["sdk"]](call["action"], call["params"])), flush=True)
"#;

/// The same for Huawei's SDK: a method, the name of its request, that one's fields, and the name of its body.
const HUAWEI: &str = r#"
import json, os, re, sys

from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.exceptions.exceptions import ServiceResponseException
from huaweicloudsdkrds import v3

credentials = BasicCredentials(os.environ["COFFER_AK"], os.environ["COFFER_SK"], os.environ["COFFER_PROJECT"])
at = "http://" + os.environ["COFFER_AT"]
client = v3.RdsClient.new_builder().with_credentials(credentials).with_endpoint(at).build()

def plain(value):
    if hasattr(value, "to_dict"):
        value = value.to_dict()
    if isinstance(value, dict):
        return {key: plain(of) for key, of in value.items()}
    return [plain(of) for of in value] if isinstance(value, list) else value

for line in sys.stdin:
    call = json.loads(line)
    name = "".join(part.title() for part in call["method"].split("_")) + "Request"
    request = getattr(v3, name)()
    for key, value in call["params"].items():
        setattr(request, key, value)
    if call["body"] is not None:
        # Which class a body has is said where the request is described.
        told = re.search(r"huaweicloudsdkrds\.v3\.(\w+)`", type(request).body.fget.__doc__)
        body = getattr(v3, told.group(1))() if told else None
        for key, value in call["body"].items():
            setattr(body, key, value)
        request.body = body
    try:
        answer = getattr(client, call["method"])(request)
        done = {"status": answer.status_code, "body": plain(answer)}
    except ServiceResponseException as error:
        done = {"status": error.status_code, "code": error.error_code, "message": error.error_msg, "request": error.request_id}
    print(json.dumps(done), flush=True)
"#;

/// An SDK's program, which answers a line for each line.
struct Program {
    child: std::process::Child,
    answers: std::io::Lines<std::io::BufReader<std::process::ChildStdout>>,
}

impl Program {
    /// Starts it against `url`, for a test of this name.
    fn start(test: &str, text: &str, url: &str, environment: &[(&str, &str)]) -> Option<Self> {
        let mut child = Command::new(python(test)?)
            .args(["-c", text])
            .envs(environment.iter().copied())
            .env("COFFER_AT", url.strip_prefix("http://").unwrap())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let answers = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
        Some(Self { child, answers })
    }

    fn ask(&mut self, line: &Value) -> Value {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
        let answer = self.answers.next().expect("the SDK's program has ended").unwrap();
        serde_json::from_str(&answer).unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // The end of its input is its end.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// The Alibaba SDKs as somebody with an access key.
pub struct Alibaba(Program);

/// Huawei's SDK as somebody with an access key of a project.
pub struct Huawei(Program);

/// The interpreter that has the SDKs; `None`, with a line that says so for `test`, where there is none.
fn python(test: &str) -> Option<String> {
    let found = std::env::var("COFFER_TEST_SDKS").ok().filter(|path| std::path::Path::new(path).exists());
    if found.is_none() {
        skip(&format!("{test}: the vendors' SDKs are not installed"));
    }
    found
}

impl Alibaba {
    /// Starts it against `url`, for a test of this name.
    pub fn start(test: &str, url: &str, (access_key, secret): (&str, &str)) -> Option<Self> {
        let keys = [("COFFER_AK", access_key), ("COFFER_SK", secret)];
        Program::start(test, ALIBABA, url, &keys).map(Self)
    }

    /// Makes a call by one of `legacy`, `tea` and `tea-v2`: `{"body"}`, or `{"status", "code", "message"}`.
    pub fn call(&mut self, sdk: &str, action: &str, params: &Value) -> Value {
        self.0.ask(&serde_json::json!({"sdk": sdk, "action": action, "params": params}))
    }
}

impl Huawei {
    /// Starts it against `url`, for a test of this name.
    pub fn start(test: &str, url: &str, (access_key, secret, project): (&str, &str, &str)) -> Option<Self> {
        let keys = [("COFFER_AK", access_key), ("COFFER_SK", secret), ("COFFER_PROJECT", project)];
        Program::start(test, HUAWEI, url, &keys).map(Self)
    }

    /// Calls a method of its client with these parameters, and a body where it is not null: `{"status", "body"}`, or
    /// `{"status", "code", "message", "request"}`.
    pub fn call(&mut self, method: &str, params: &Value, body: &Value) -> Value {
        self.0.ask(&serde_json::json!({"method": method, "params": params, "body": body}))
    }
}
