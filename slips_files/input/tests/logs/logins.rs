//! The logs of which detections use who logs in and who asks for what.

use slips_core::event::Event;
use slips_core::exchange::{App, Auth, AuthOutcome};
use slips_core::flow::Proto;
use slips_input::Reason;

use super::formats::same;
use super::{read, rejects, tsv};

const IDS: &str = "ts uid id.orig_h id.orig_p id.resp_h id.resp_p";
const ENDS: &str = "1.0 C1 10.0.0.1 1024 10.0.0.2 445";

/// The one login that both formats give; `fields` and `row` go on behind the ids, `json` likewise.
#[track_caller]
fn login(path: &str, fields: &str, row: &str, json: &str) -> Box<Auth> {
    let ends = r#""ts":1.0,"uid":"C1","id.orig_h":"10.0.0.1","id.orig_p":1024,"id.resp_h":"10.0.0.2","id.resp_p":445"#;
    let json = format!("{{{ends},{json}}}");
    match same(path, &format!("{IDS} {fields}"), &format!("{ENDS} {row}"), &json) {
        Event::Auth(auth) => auth,
        other => panic!("{other:?}"),
    }
}

fn told(auth: &Auth) -> (App, &str, &str, AuthOutcome, &str) {
    (auth.app, &auth.user, &auth.domain, auth.outcome, &auth.reason)
}

#[test]
fn logins_of_six_protocols() {
    let auth = login(
        "kerberos",
        "request_type client service success error_msg",
        "AS anna/EXAMPLE.ORG krbtgt/EXAMPLE.ORG F KDC_ERR_PREAUTH_FAILED",
        r#""request_type":"AS","client":"anna/EXAMPLE.ORG","service":"krbtgt/EXAMPLE.ORG","success":false,"error_msg":"KDC_ERR_PREAUTH_FAILED""#,
    );
    let failed = AuthOutcome::Failed;
    assert_eq!(told(&auth), (App::Kerberos, "anna", "EXAMPLE.ORG", failed, "KDC_ERR_PREAUTH_FAILED"));
    let auth = login(
        "mysql",
        "cmd arg success rows response",
        "login root F - Access~denied",
        r#""cmd":"login","arg":"root","success":false,"response":"Access denied""#,
    );
    assert_eq!(told(&auth), (App::Mysql, "root", "", failed, "Access denied"));
    let auth = login(
        "ntlm",
        "username hostname domainname server_nb_computer_name success",
        "anna PC7 OFFICE SRV T",
        r#""username":"anna","hostname":"PC7","domainname":"OFFICE","server_nb_computer_name":"SRV","success":true"#,
    );
    assert_eq!(told(&auth), (App::Smb, "anna", "OFFICE", AuthOutcome::Succeeded, ""));
    assert_eq!((auth.host.as_str(), auth.method.as_str(), auth.about.proto), ("PC7", "NTLM", Proto::Tcp));
    let auth = login(
        "rfb",
        "client_major_version authentication_method auth",
        "003 VNC F",
        r#""client_major_version":"003","authentication_method":"VNC","auth":false"#,
    );
    assert_eq!((told(&auth), auth.method.as_str()), ((App::Rfb, "", "", failed, ""), "VNC"));
    let auth = login(
        "radius",
        "username reply_msg result",
        "anna no failed",
        r#""username":"anna","reply_msg":"no","result":"failed""#,
    );
    assert_eq!(told(&auth), (App::Radius, "anna", "", failed, "no"));
    assert_eq!(auth.about.proto, Proto::Udp);
    let auth = login(
        "ldap",
        "message_id opcode result object",
        "1 bind~simple invalid~credentials cn=anna",
        r#""message_id":1,"opcode":"bind simple","result":"invalid credentials","object":"cn=anna""#,
    );
    assert_eq!(told(&auth), (App::Ldap, "cn=anna", "", failed, "invalid credentials"));
    assert!(auth.clear_password && auth.method == "simple");
}

#[test]
fn what_is_no_login_is_passed_over() {
    for (path, fields, row) in [
        ("kerberos", "request_type client success error_msg", "TGS anna/X T -"),
        ("kerberos", "request_type client success error_msg", "AS anna/X F KDC_ERR_PREAUTH_REQUIRED"),
        ("mysql", "cmd arg success", "query select~1 T"),
        ("ldap", "message_id opcode result", "1 search success"),
        ("ldap", "message_id opcode result", "1 bind~SASL SASL~bind~in~progress"),
    ] {
        let (events, report) = read(&tsv(path, &format!("{IDS} {fields}"), &[&format!("{ENDS} {row}")]));
        assert_eq!((events.len(), rejects(&report)), (0, vec![(Reason::UnusedKind, 1)]), "{row}");
        assert!(report.samples.is_empty());
    }
}

#[test]
fn calls_and_quic() {
    let Event::Operation(call) = same(
        "dce_rpc",
        &format!("{IDS} rtt named_pipe endpoint operation"),
        &format!("{ENDS} 0.1 \\\\PIPE\\\\svcctl svcctl CreateServiceW"),
        r#"{"ts":1.0,"uid":"C1","id.orig_h":"10.0.0.1","id.orig_p":1024,"id.resp_h":"10.0.0.2","id.resp_p":445,"rtt":0.1,"named_pipe":"\\PIPE\\svcctl","endpoint":"svcctl","operation":"CreateServiceW"}"#,
    ) else {
        panic!("no operation")
    };
    assert_eq!((call.app, call.action), (App::DceRpc, "call"));
    assert_eq!((call.object.as_str(), call.detail.as_str()), ("svcctl", "CreateServiceW"));
    let Event::Quic(quic) = same(
        "quic",
        &format!(
            "{IDS} version client_initial_dcid client_scid server_scid server_name client_protocol history"
        ),
        &format!("{ENDS} 1 c5a501 (empty) - blog.example.org h3 ISXi"),
        r#"{"ts":1.0,"uid":"C1","id.orig_h":"10.0.0.1","id.orig_p":1024,"id.resp_h":"10.0.0.2","id.resp_p":445,"version":"1","client_initial_dcid":"c5a501","client_scid":"","server_name":"blog.example.org","client_protocol":"h3","history":"ISXi"}"#,
    ) else {
        panic!("no quic")
    };
    assert_eq!((quic.client_scid.as_deref(), quic.server_scid.as_deref()), (Some(""), None));
    assert_eq!((quic.server_name.as_str(), quic.about.proto), ("blog.example.org", Proto::Udp));
}
