//! The vendors' own SDKs, unmodified, as programs in Python that a test drives.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

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

/// The Alibaba SDKs as somebody with an access key.
pub struct Alibaba {
    child: std::process::Child,
    answers: std::io::Lines<std::io::BufReader<std::process::ChildStdout>>,
}

/// The interpreter that has the SDKs; `None`, with a line that says so for `test`, where there is none.
fn python(test: &str) -> Option<String> {
    let found = std::env::var("COFFER_TEST_SDKS").ok().filter(|path| std::path::Path::new(path).exists());
    if found.is_none()
        && let Ok(skips) = std::env::var("COFFER_TEST_SKIPS")
    {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(skips).unwrap();
        writeln!(file, "{test}: the vendors' SDKs are not installed").unwrap();
    }
    found
}

impl Alibaba {
    /// Starts it against `url`, for a test of this name.
    pub fn start(test: &str, url: &str, (access_key, secret): (&str, &str)) -> Option<Self> {
        let mut child = Command::new(python(test)?)
            .args(["-c", ALIBABA])
            .env("COFFER_AK", access_key)
            .env("COFFER_SK", secret)
            .env("COFFER_AT", url.strip_prefix("http://").unwrap())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let answers = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
        Some(Self { child, answers })
    }

    /// Makes a call by one of `legacy`, `tea` and `tea-v2`: `{"body"}`, or `{"status", "code", "message"}`.
    pub fn call(&mut self, sdk: &str, action: &str, params: &Value) -> Value {
        let line = serde_json::json!({"sdk": sdk, "action": action, "params": params}).to_string();
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
        let answer = self.answers.next().expect("the SDK's program has ended").unwrap();
        serde_json::from_str(&answer).unwrap()
    }
}

impl Drop for Alibaba {
    fn drop(&mut self) {
        // The end of its input is its end.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
