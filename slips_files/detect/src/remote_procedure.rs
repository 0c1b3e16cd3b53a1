//! Windows hosts managed as attackers do it: calls over DCE/RPC, alone or over SMB (`REMOTE_EXECUTION`, `CREDENTIAL_ACCESS`,
//! `REMOTE_DISCOVERY`, `EXPLOIT_ATTEMPT`).

use std::net::IpAddr;

use slips_core::detector::{Closing, Cx, Detector, Header, Role, Slot, Spec, Threshold, Unit};
use slips_core::event::{About, Event, EventKind};
use slips_core::evidence::{Entity, EvidenceKind, Finding, Proof, ThreatLevel};
use slips_core::exchange::{App, Operation};
use slips_core::state::Windowed;
use slips_core::time::{Span, WindowId};

use crate::Settings;
use crate::ladder::{self, Ladder, Told, rung};
use crate::steps::{Limits, Steps};
use crate::table::Table;
use crate::tally::{Pace, Trail};

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "remote_procedure",
    kinds: &[
        EvidenceKind::RemoteExecution,
        EvidenceKind::CredentialAccess,
        EvidenceKind::RemoteDiscovery,
        EvidenceKind::ExploitAttempt,
    ],
    events: &[EventKind::Operation],
    roles: &[Role::Src],
    thresholds: &[EXECUTION, SECRETS, DISCOVERY, ACCOUNTS, NETLOGON, NETLOGON_TRIAL, EXPLOIT],
    header: Header {
        detects: "Windows hosts managed as attackers do it: calls over DCE/RPC, alone or over SMB (`REMOTE_EXECUTION`, \
            `CREDENTIAL_ACCESS`, `REMOTE_DISCOVERY`, `EXPLOIT_ATTEMPT`).",
        attack: "T1569.002 Service Execution, T1053.005 Scheduled Task, T1047 Windows Management Instrumentation, \
            T1021.003 Distributed Component Object Model, T1003.006 DCSync, T1207 Rogue Domain Controller, \
            T1003.004 LSA Secrets, T1555 Credentials from Password Stores, T1187 Forced Authentication, T1210 \
            Exploitation of Remote Services, T1087 and T1135 Discovery.",
        rule: "Certain operations of certain interfaces, per pair of hosts and technique in a window; the table \
            `CALLS` names them with their technique. Logins over Netlogon are counted, for \
            the worse steps those within one to two minutes: a trial of CVE-2020-1472 takes 256 of them on average, in \
            a second or a few. Exploits: a compressed SMB message whose sizes overflow (CVE-2020-0796), a transaction of SMB 1 that goes on as \
            another kind (CVE-2017-0144) or is of the reserved kind (DoublePulsar), RDP's channel MS_T120 (CVE-2019-0708).",
        numbers: "The operations are those of MS-SCMR, MS-TSCH, MS-WMI, MS-DRSR, MS-LSAD, MS-BKRP, MS-RPRN, MS-EFSR, \
            MS-DFSNM, MS-SRVS, MS-SAMR, MS-EVEN6 and MS-RRP; the classes made by DCOM are those of T1021.003 (MMC20.Application, \
            ShellWindows and others). Domain controllers replicate with each other by the call that DCSync \
            uses, members of a domain log in by Netlogon at every start and when a channel breaks (public detections \
            of CVE-2020-1472 take 20 pairs of calls within two minutes; a hundred is what no office does), and \
            administrators create services: 0.35 to 0.64 a pair and window, of which eight weigh. \
            Critical is only what no administration does.",
        quiet: "Clients of a domain log in, look up names and read policies all day: these calls are not in the \
            table. Discovery is low: file managers ask for shares, and for who is in a group.",
        evasion: "Encrypted SMB 3; other interfaces; tools on the host itself.",
        proof: "Proven, a connection over TCP that carried data.",
    },
};

/// Steps in calls that run something.
pub const EXECUTION: Threshold = Threshold::steps(
    "executions",
    "calls between two hosts that run or change something, by one technique in a window",
    Unit::Count,
    &[rung(1, ThreatLevel::Medium, 0.7), rung(10, ThreatLevel::Medium, 0.9)],
);
/// Steps in calls for secrets.
pub const SECRETS: Threshold = Threshold::steps(
    "secrets",
    "calls between two hosts for secrets, by one technique in a window",
    Unit::Count,
    &[rung(1, ThreatLevel::High, 0.7), rung(10, ThreatLevel::High, 0.8)],
);
/// Steps in calls that look around.
pub const DISCOVERY: Threshold = Threshold::steps(
    "discoveries",
    "calls between two hosts that look around, by one technique in a window",
    Unit::Count,
    &[rung(1, ThreatLevel::Low, 0.3), rung(10, ThreatLevel::Low, 0.5)],
);
/// Steps in changes of accounts, which administrators make too.
pub const ACCOUNTS: Threshold = Threshold::steps(
    "accounts",
    "changes of accounts, which administrators make too",
    Unit::Count,
    &[rung(1, ThreatLevel::Medium, 0.5), rung(10, ThreatLevel::Medium, 0.7)],
);
/// Steps in logins of machine accounts over Netlogon.
pub const NETLOGON: Threshold = Threshold::steps(
    "netlogon_logins",
    "logins over Netlogon between two hosts in a window",
    Unit::Count,
    &[rung(20, ThreatLevel::Low, 0.5), rung(200, ThreatLevel::Medium, 0.6)],
);
/// The same within `MINUTE` to twice of it.
pub const NETLOGON_TRIAL: Threshold = Threshold::steps(
    "netlogon_trial",
    "logins over Netlogon between two hosts within one to two minutes",
    Unit::Count,
    &[
        rung(20, ThreatLevel::Medium, 0.7),
        rung(50, ThreatLevel::High, 0.9),
        rung(100, ThreatLevel::Critical, 0.95),
    ],
);
const MINUTE: Span = Span::from_secs(60);
/// Servers remembered per source and window; those with the fewest logins make room.
const MAX_SERVERS: usize = 16;
/// The step for messages that only exploits send.
pub const EXPLOIT: Threshold = Threshold::steps(
    "exploits",
    "messages between two hosts that only an exploit sends",
    Unit::Count,
    &[rung(1, ThreatLevel::Critical, 0.95)],
);

/// What a call is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Technique {
    Service,
    Task,
    Wmi,
    Dcom,
    Registry,
    DcSync,
    DcShadow,
    LsaSecrets,
    BackupKey,
    Coercion,
    MachinePassword,
    Account,
    Netlogon,
    WhoIsThere,
    Shares,
    SmbGhost,
    EternalBlue,
    DoublePulsar,
    BlueKeep,
    Accounts,
    ClearLog,
}

impl Technique {
    const fn kind(self) -> EvidenceKind {
        match self {
            Self::Service | Self::Task | Self::Wmi | Self::Dcom | Self::Registry | Self::ClearLog => {
                EvidenceKind::RemoteExecution
            }
            Self::WhoIsThere | Self::Shares | Self::Accounts => EvidenceKind::RemoteDiscovery,
            Self::SmbGhost | Self::EternalBlue | Self::DoublePulsar | Self::BlueKeep => {
                EvidenceKind::ExploitAttempt
            }
            _ => EvidenceKind::CredentialAccess,
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Service => "a service is created on a remote host (T1569.002)",
            Self::Task => "a task is scheduled on a remote host (T1053.005)",
            Self::Wmi => "a method is run by WMI on a remote host (T1047)",
            Self::Dcom => "an object is driven by DCOM on a remote host (T1021.003)",
            Self::Registry => "the registry of a remote host is changed (T1112)",
            Self::DcSync => "a directory is replicated, as DCSync does (T1003.006)",
            Self::DcShadow => "a domain controller is added, as DCShadow does (T1207)",
            Self::LsaSecrets => "secrets of the LSA are read (T1003.004)",
            Self::BackupKey => "the domain's backup key is asked for (T1555)",
            Self::Coercion => "a host is made to log in elsewhere (T1187)",
            Self::Account => "an account's password or rights are set by SAM (T1098)",
            Self::MachinePassword => "the password of a machine account is set (T1098)",
            Self::Netlogon => "a machine account logs in again and again, as CVE-2020-1472 needs (T1210)",
            Self::WhoIsThere => "a host is asked who is logged in (T1033)",
            Self::Shares => "a host is asked for its shares (T1135)",
            Self::EternalBlue => "an SMB transaction goes on as another kind, as CVE-2017-0144 needs (T1210)",
            Self::DoublePulsar => {
                "an SMB transaction that nobody made is asked for, as of DoublePulsar (T1210)"
            }
            Self::BlueKeep => "a server's own channel is asked for by RDP, as CVE-2019-0708 needs (T1210)",
            Self::Accounts => "a host is asked for its accounts or who is in a group (T1087)",
            Self::ClearLog => "the log of a remote host is emptied (T1070.001)",
            Self::SmbGhost => "a compressed SMB message overflows, as CVE-2020-0796 needs (T1210)",
        }
    }
}

/// Interface, operation, what it is good for.
const CALLS: [(&str, &str, Technique); 75] = [
    ("svcctl", "CreateServiceW", Technique::Service),
    ("svcctl", "CreateServiceA", Technique::Service),
    ("svcctl", "ChangeServiceConfigW", Technique::Service),
    ("atsvc", "NetrJobAdd", Technique::Task),
    ("ITaskSchedulerService", "SchRpcRegisterTask", Technique::Task),
    ("IWbemServices", "ExecMethod", Technique::Wmi),
    ("IDispatch", "Invoke", Technique::Dcom),
    ("ISystemActivator", "MMC20.Application", Technique::Dcom),
    ("ISystemActivator", "ShellWindows", Technique::Dcom),
    ("ISystemActivator", "ShellBrowserWindow", Technique::Dcom),
    ("ISystemActivator", "Excel.Application", Technique::Dcom),
    ("ISystemActivator", "Word.Application", Technique::Dcom),
    ("ISystemActivator", "Outlook.Application", Technique::Dcom),
    ("ISystemActivator", "htafile", Technique::Dcom),
    ("ISystemActivator", "WScript.Shell", Technique::Dcom),
    ("winreg", "BaseRegSetValue", Technique::Registry),
    ("winreg", "BaseRegSaveKey", Technique::LsaSecrets),
    ("drsuapi", "DRSGetNCChanges", Technique::DcSync),
    ("drsuapi", "DRSReplicaAdd", Technique::DcShadow),
    ("drsuapi", "DRSAddEntry", Technique::DcShadow),
    ("lsarpc", "LsarRetrievePrivateData", Technique::LsaSecrets),
    ("BackupKey", "bkrp_BackupKey", Technique::BackupKey),
    ("spoolss", "RpcRemoteFindFirstPrinterChangeNotification", Technique::Coercion),
    ("spoolss", "RpcRemoteFindFirstPrinterChangeNotificationEx", Technique::Coercion),
    ("spoolss", "RpcAddPrinterDriverEx", Technique::Service),
    ("IRemoteWinspool", "RpcAsyncAddPrinterDriver", Technique::Service),
    ("efsrpc", "EfsRpcOpenFileRaw", Technique::Coercion),
    ("efsrpc", "EfsRpcEncryptFileSrv", Technique::Coercion),
    ("netdfs", "NetrDfsAddStdRoot", Technique::Coercion),
    ("netdfs", "NetrDfsRemoveStdRoot", Technique::Coercion),
    ("fssagentrpc", "IsPathSupported", Technique::Coercion),
    ("fssagentrpc", "IsPathShadowCopied", Technique::Coercion),
    ("samr", "SamrSetInformationUser2", Technique::Account),
    ("netlogon", "NetrServerPasswordSet2", Technique::MachinePassword),
    ("netlogon", "NetrServerAuthenticate3", Technique::Netlogon),
    ("srvsvc", "NetrSessionEnum", Technique::WhoIsThere),
    ("wkssvc", "NetrWkstaUserEnum", Technique::WhoIsThere),
    ("winreg", "OpenUsers", Technique::WhoIsThere),
    ("srvsvc", "NetrShareEnum", Technique::Shares),
    ("smb", "overflow", Technique::SmbGhost),
    ("smb", "mixed", Technique::EternalBlue),
    ("smb", "reserved", Technique::DoublePulsar),
    ("rdp", "MS_T120", Technique::BlueKeep),
    ("svcctl", "ChangeServiceConfigA", Technique::Service),
    ("svcctl", "CreateServiceWOW64A", Technique::Service),
    ("svcctl", "CreateServiceWOW64W", Technique::Service),
    ("svcctl", "CreateWowService", Technique::Service),
    ("spoolss", "RpcAddPrinterDriver", Technique::Service),
    ("IWbemServices", "ExecMethodAsync", Technique::Wmi),
    ("IWbemServices", "PutClass", Technique::Wmi),
    ("IWbemServices", "PutInstance", Technique::Wmi),
    ("efsrpc", "EfsRpcDecryptFileSrv", Technique::Coercion),
    ("efsrpc", "EfsRpcQueryUsersOnFile", Technique::Coercion),
    ("efsrpc", "EfsRpcQueryRecoveryAgents", Technique::Coercion),
    ("efsrpc", "EfsRpcRemoveUsersFromFile", Technique::Coercion),
    ("efsrpc", "EfsRpcAddUsersToFile", Technique::Coercion),
    ("efsrpc", "EfsRpcFileKeyInfo", Technique::Coercion),
    ("efsrpc", "EfsRpcDuplicateEncryptionInfoFile", Technique::Coercion),
    ("efsrpc", "EfsRpcAddUsersToFileEx", Technique::Coercion),
    ("samr", "SamrAddMemberToGroup", Technique::Account),
    ("samr", "SamrAddMemberToAlias", Technique::Account),
    ("samr", "SamrSetInformationUser", Technique::Account),
    ("samr", "SamrChangePasswordUser", Technique::Account),
    ("samr", "SamrCreateUser2InDomain", Technique::Account),
    ("samr", "SamrEnumerateGroupsInDomain", Technique::Accounts),
    ("samr", "SamrEnumerateUsersInDomain", Technique::Accounts),
    ("samr", "SamrEnumerateAliasesInDomain", Technique::Accounts),
    ("samr", "SamrGetMembersInGroup", Technique::Accounts),
    ("samr", "SamrGetMembersInAlias", Technique::Accounts),
    ("samr", "SamrQueryDisplayInformation", Technique::Accounts),
    ("netlogon", "NetrServerAuthenticate", Technique::Netlogon),
    ("netlogon", "NetrServerAuthenticate2", Technique::Netlogon),
    ("netlogon", "NetrServerPasswordSet", Technique::MachinePassword),
    ("eventlog", "ElfrClearELFW", Technique::ClearLog),
    ("even6", "EvtRpcClearLog", Technique::ClearLog),
];

fn technique_of(operation: &Operation) -> Option<Technique> {
    let (object, detail) = match operation.app {
        App::DceRpc => (operation.object.as_str(), operation.detail.as_str()),
        App::Smb if matches!(operation.action, "compress" | "transaction") => {
            ("smb", operation.detail.as_str())
        }
        App::Rdp if operation.action == "channel" => ("rdp", operation.detail.as_str()),
        _ => return None,
    };
    CALLS
        .iter()
        .find(|(one, other, _)| *one == object && *other == detail)
        .map(|(_, _, technique)| *technique)
}

/// Logins of one host over Netlogon at another one.
#[derive(Debug, Default)]
struct Logins {
    n: u32,
    pace: Pace,
    trail: Trail,
    told: u8,
    told_trial: Told,
}

type Counts = Steps<(Technique, IpAddr)>;

/// See the module.
#[derive(Debug)]
pub struct RemoteProcedure {
    execution: Counts,
    secrets: Counts,
    discovery: Counts,
    netlogon: Ladder,
    netlogon_trial: Ladder,
    logins: Windowed<Table<IpAddr, Logins>>,
    accounts: Counts,
    exploits: Counts,
}

impl RemoteProcedure {
    /// With these settings.
    pub fn new(settings: &Settings) -> Self {
        let limits = Limits { keys: 64, weighing: 8 };
        Self {
            execution: Steps::new(settings.ladder(&SPEC, &EXECUTION), limits),
            secrets: Steps::new(settings.ladder(&SPEC, &SECRETS), limits),
            discovery: Steps::new(settings.ladder(&SPEC, &DISCOVERY), limits),
            netlogon: settings.ladder(&SPEC, &NETLOGON),
            netlogon_trial: settings.ladder(&SPEC, &NETLOGON_TRIAL),
            logins: Windowed::default(),
            accounts: Steps::new(settings.ladder(&SPEC, &ACCOUNTS), limits),
            exploits: Steps::new(settings.ladder(&SPEC, &EXPLOIT), limits),
        }
    }
}

impl RemoteProcedure {
    fn counts(&mut self) -> [&mut Counts; 5] {
        [&mut self.execution, &mut self.secrets, &mut self.discovery, &mut self.accounts, &mut self.exploits]
    }

    fn on_netlogon(&mut self, cx: &mut Cx<'_>, about: &About) {
        let servers = self.logins.get_or_default(cx.slot(), cx.window());
        let Some(logins) = servers.get_or_insert(about.dst.addr, MAX_SERVERS, |logins| u64::from(logins.n))
        else {
            return;
        };
        logins.n = logins.n.saturating_add(1);
        logins.pace.add(about.at, 1, MINUTE);
        logins.trail.push(about.uid);
        let (step, n) = (self.netlogon.step(logins.n), logins.pace.sum());
        let trial = self.netlogon_trial.step(n).max(logins.told_trial.step());
        let rung = match logins.told_trial.climb(&self.netlogon_trial, trial, Proof::Proven, 1, about.at) {
            // What is worse stands.
            None if trial > 0 => None,
            None => self.netlogon.at_step(step).filter(|_| ladder::climb(&mut logins.told, step)),
            worse => worse,
        };
        let Some(rung) = rung else { return };
        let text = format!("{}: {} times at {}", Technique::Netlogon.text(), logins.n, about.dst.addr);
        let uids = logins.trail.take();
        cx.emit(Finding {
            victim: Some(Entity::Ip(about.dst.addr)),
            proto: Some(about.proto),
            uids,
            text,
            proof: Proof::Proven,
            ..ladder::finding(cx, Technique::Netlogon.kind(), about.src.addr, rung, about.at)
        });
    }

    fn on_call(&mut self, cx: &mut Cx<'_>, operation: &Operation, technique: Technique) {
        let about = &operation.about;
        let steps = match technique.kind() {
            _ if technique == Technique::Account => &mut self.accounts,
            EvidenceKind::RemoteExecution => &mut self.execution,
            EvidenceKind::RemoteDiscovery => &mut self.discovery,
            EvidenceKind::ExploitAttempt => &mut self.exploits,
            _ => &mut self.secrets,
        };
        let Some(reached) = steps.add(cx, (technique, about.dst.addr), about.uid) else { return };
        let call = match operation.app {
            App::DceRpc => format!("{}.{}, ", operation.object, operation.detail),
            _ => String::new(),
        };
        let times = reached.n;
        cx.emit(Finding {
            victim: Some(Entity::Ip(about.dst.addr)),
            proto: Some(about.proto),
            text: format!("{}: {call}{times} times at {}", technique.text(), about.dst.addr),
            proof: Proof::Proven,
            ..reached.finding(cx, technique.kind(), about.src.addr, about.at)
        });
    }
}

impl Detector for RemoteProcedure {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn on_window_close(&mut self, _out: &mut Closing<'_>, window: WindowId) {
        self.logins.close(window, |_, _| {});
        self.counts().into_iter().for_each(|counts| counts.close(window));
    }

    fn forget(&mut self, slot: Slot) {
        self.logins.forget(slot);
        self.counts().into_iter().for_each(|counts| counts.forget(slot));
    }

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        if let Event::Operation(operation) = event
            && let Some(technique) = technique_of(operation)
        {
            match technique {
                Technique::Netlogon => self.on_netlogon(cx, &operation.about),
                technique => self.on_call(cx, operation, technique),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_traces::{about, bench, levels};

    fn told(times: i64, app: App, action: &'static str, object: &str, detail: &str) -> Vec<Finding> {
        every(1, times, app, action, object, detail)
    }

    fn every(
        seconds: i64,
        times: i64,
        app: App,
        action: &'static str,
        object: &str,
        detail: &str,
    ) -> Vec<Finding> {
        let mut bench = bench(RemoteProcedure::new(&Settings::default()));
        let call = |n| {
            Event::Operation(Box::new(Operation {
                about: about("192.168.1.5", "192.168.1.9", 445, n * seconds),
                app,
                action,
                object: object.into(),
                subject: String::new(),
                detail: detail.into(),
                status: String::new(),
            }))
        };
        (0..times).flat_map(|n| bench.feed(&call(n))).collect()
    }

    #[test]
    fn each_call_is_told_by_its_technique() {
        for (interface, operation, technique) in CALLS {
            let (app, action) = match interface {
                "smb" => (App::Smb, "compress"),
                "rdp" => (App::Rdp, "channel"),
                _ => (App::DceRpc, "call"),
            };
            let told = told(100, app, action, interface, operation);
            let kinds: Vec<EvidenceKind> = told.iter().map(|told| told.kind).collect();
            let expected = if technique.kind() == EvidenceKind::ExploitAttempt { 1 } else { 2 };
            let expected = if technique == Technique::Netlogon { 3 } else { expected };
            assert_eq!(kinds, vec![technique.kind(); expected], "{interface}.{operation}");
        }
    }

    #[test]
    fn only_what_no_administration_does_is_critical() {
        let rpc = |times, object, detail| levels(&told(times, App::DceRpc, "call", object, detail));
        assert_eq!(rpc(1, "svcctl", "CreateServiceW"), ["medium 0.7"]);
        assert_eq!(rpc(1000, "drsuapi", "DRSGetNCChanges"), ["high 0.7", "high 0.8"]);
        assert!(rpc(19, "netlogon", "NetrServerAuthenticate3").is_empty(), "ordinary logins");
        assert_eq!(
            rpc(120, "netlogon", "NetrServerAuthenticate3"),
            ["medium 0.7", "high 0.9", "critical 0.95"],
            "a trial of CVE-2020-1472"
        );
        assert_eq!(levels(&told(9, App::Smb, "compress", "", "overflow")), ["critical 0.95"]);
    }

    #[test]
    fn a_domain_that_logs_in_all_day_is_no_trial() {
        let all = |seconds, times| {
            levels(&every(seconds, times, App::DceRpc, "call", "netlogon", "NetrServerAuthenticate3"))
        };
        assert_eq!(all(12, 300), ["low 0.5", "medium 0.6"], "five a minute");
        assert_eq!(all(3, 100), ["medium 0.7"], "an office that starts");
    }

    #[test]
    fn everyday_calls_and_other_protocols_are_silent() {
        assert!(told(500, App::DceRpc, "call", "lsarpc", "LsarOpenPolicy2").is_empty());
        assert!(told(500, App::DceRpc, "call", "epmapper", "ept_map").is_empty());
        assert!(told(500, App::Smb, "open", "svcctl", "pipe").is_empty());
        assert!(told(500, App::Ldap, "call", "svcctl", "CreateServiceW").is_empty());
    }
}
