//! Interfaces and operations by their names in Microsoft's open specifications (MS-SCMR, MS-DRSR, MS-SRVS …), as far as they matter
//! for seeing attacks; the others are told by number.

use std::fmt;

/// The identifier of an interface, in the order in which it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Interface(pub(crate) u128);

impl Interface {
    /// From the wire, where the first three parts may be little-endian.
    pub(crate) fn from_wire(bytes: &[u8; 16], little_endian: bool) -> Self {
        let mut uuid = *bytes;
        if little_endian {
            let (first, rest) = uuid.split_at_mut(4);
            first.reverse();
            let (second, rest) = rest.split_at_mut(2);
            second.reverse();
            rest.split_at_mut(2).0.reverse();
        }
        Self(u128::from_be_bytes(uuid))
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = format!("{:032x}", self.0);
        let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
        write!(f, "{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
    }
}

/// Operations of one interface: number and name.
type Operations = &'static [(u16, &'static str)];

const INTERFACES: &[(u128, &str, Operations)] = &[
    (
        0x367abb81_9844_35f1_ad32_98f038001003,
        "svcctl",
        &[
            (2, "DeleteService"),
            (11, "ChangeServiceConfigW"),
            (12, "CreateServiceW"),
            (15, "OpenSCManagerW"),
            (16, "OpenServiceW"),
            (19, "StartServiceW"),
            (24, "CreateServiceA"),
            (23, "ChangeServiceConfigA"),
            (31, "StartServiceA"),
            (44, "CreateServiceWOW64A"),
            (45, "CreateServiceWOW64W"),
            (60, "CreateWowService"),
        ],
    ),
    (
        0xe3514235_4b06_11d1_ab04_00c04fc2dcd2,
        "drsuapi",
        &[
            (0, "DRSBind"),
            (3, "DRSGetNCChanges"),
            (4, "DRSUpdateRefs"),
            (5, "DRSReplicaAdd"),
            (12, "DRSCrackNames"),
            (17, "DRSAddEntry"),
        ],
    ),
    (
        0x12345778_1234_abcd_ef00_0123456789ab,
        "lsarpc",
        &[(43, "LsarRetrievePrivateData"), (44, "LsarOpenPolicy2")],
    ),
    (
        0x12345778_1234_abcd_ef00_0123456789ac,
        "samr",
        &[
            (11, "SamrEnumerateGroupsInDomain"),
            (13, "SamrEnumerateUsersInDomain"),
            (15, "SamrEnumerateAliasesInDomain"),
            (22, "SamrAddMemberToGroup"),
            (25, "SamrGetMembersInGroup"),
            (31, "SamrAddMemberToAlias"),
            (33, "SamrGetMembersInAlias"),
            (37, "SamrSetInformationUser"),
            (38, "SamrChangePasswordUser"),
            (40, "SamrQueryDisplayInformation"),
            (50, "SamrCreateUser2InDomain"),
            (58, "SamrSetInformationUser2"),
            (64, "SamrConnect5"),
            (65, "SamrRidToSid"),
            (67, "SamrValidatePassword"),
        ],
    ),
    (
        0x12345678_1234_abcd_ef00_01234567cffb,
        "netlogon",
        &[
            (4, "NetrServerReqChallenge"),
            (5, "NetrServerAuthenticate"),
            (6, "NetrServerPasswordSet"),
            (15, "NetrServerAuthenticate2"),
            (26, "NetrServerAuthenticate3"),
            (30, "NetrServerPasswordSet2"),
        ],
    ),
    (
        0x12345678_1234_abcd_ef00_0123456789ab,
        "spoolss",
        &[
            (1, "RpcOpenPrinter"),
            (9, "RpcAddPrinterDriver"),
            (62, "RpcRemoteFindFirstPrinterChangeNotification"),
            (65, "RpcRemoteFindFirstPrinterChangeNotificationEx"),
            (69, "RpcOpenPrinterEx"),
            (89, "RpcAddPrinterDriverEx"),
        ],
    ),
    (0x76f03f96_cdfd_44fc_a22c_64950a001209, "IRemoteWinspool", &[(39, "RpcAsyncAddPrinterDriver")]),
    (0xc681d488_d850_11d0_8c52_00c04fd90f7e, "efsrpc", EFS),
    (0xdf1941c5_fe89_4e79_bf10_463657acf44d, "efsrpc", EFS),
    (
        0x4fc742e0_4a10_11cf_8273_00aa004ae673,
        "netdfs",
        &[(12, "NetrDfsAddStdRoot"), (13, "NetrDfsRemoveStdRoot")],
    ),
    (
        0xa8e0653c_2744_4389_a61d_7373df8b2292,
        "fssagentrpc",
        &[(8, "IsPathSupported"), (9, "IsPathShadowCopied")],
    ),
    (
        0x4b324fc8_1670_01d3_1278_5a47bf6ee188,
        "srvsvc",
        &[
            (8, "NetrConnectionEnum"),
            (12, "NetrSessionEnum"),
            (15, "NetrShareEnum"),
            (16, "NetrShareGetInfo"),
            (21, "NetrServerGetInfo"),
        ],
    ),
    (0x6bffd098_a112_3610_9833_46c3f87e345a, "wkssvc", &[(0, "NetrWkstaGetInfo"), (2, "NetrWkstaUserEnum")]),
    (
        0x338cd001_2244_31f1_aaaa_900038001003,
        "winreg",
        &[
            (2, "OpenLocalMachine"),
            (4, "OpenUsers"),
            (6, "BaseRegCreateKey"),
            (20, "BaseRegSaveKey"),
            (22, "BaseRegSetValue"),
        ],
    ),
    (0x1ff70682_0a51_30e8_076d_740be8cee98b, "atsvc", &[(0, "NetrJobAdd")]),
    (
        0x86d35949_83c9_4044_b424_db363231fd0c,
        "ITaskSchedulerService",
        &[(1, "SchRpcRegisterTask"), (12, "SchRpcRun"), (13, "SchRpcDelete")],
    ),
    (
        0x9556dc99_828c_11cf_a37e_00aa003240c7,
        "IWbemServices",
        &[
            (6, "GetObject"),
            (8, "PutClass"),
            (14, "PutInstance"),
            (20, "ExecQuery"),
            (24, "ExecMethod"),
            (25, "ExecMethodAsync"),
        ],
    ),
    (0xf309ad18_d86a_11d0_a075_00c04fb68820, "IWbemLevel1Login", &[(6, "NTLMLogin")]),
    (0x00020400_0000_0000_c000_000000000046, "IDispatch", &[(5, "GetIDsOfNames"), (6, "Invoke")]),
    (0x000001a0_0000_0000_c000_000000000046, "ISystemActivator", &[(4, "RemoteCreateInstance")]),
    (0x99fcfec4_5260_101b_bbcb_00aa0021347a, "IObjectExporter", &[(5, "ServerAlive2")]),
    (0xe1af8308_5d1f_11c9_91a4_08002b14a0fa, "epmapper", &[(2, "ept_lookup"), (3, "ept_map")]),
    (0x3dde7c30_165d_11d1_ab8f_00805f14db40, "BackupKey", &[(0, "bkrp_BackupKey")]),
    (0x82273fdc_e32a_18c3_3f78_827929dc23ea, "eventlog", &[(0, "ElfrClearELFW")]),
    (0xf6beaff7_1e19_4fbb_9f8f_b89e2018337c, "even6", &[(6, "EvtRpcClearLog")]),
    (0x50abc2a4_574d_40b3_9d66_ee4fd5fba076, "dnsserver", &[(0, "DnssrvOperation"), (5, "DnssrvOperation2")]),
];

/// Operations on encrypted files of another host (MS-EFSR), all of which make that host look for a file, and log in, wherever it is told to.
const EFS: Operations = &[
    (0, "EfsRpcOpenFileRaw"),
    (4, "EfsRpcEncryptFileSrv"),
    (5, "EfsRpcDecryptFileSrv"),
    (6, "EfsRpcQueryUsersOnFile"),
    (7, "EfsRpcQueryRecoveryAgents"),
    (8, "EfsRpcRemoveUsersFromFile"),
    (9, "EfsRpcAddUsersToFile"),
    (12, "EfsRpcFileKeyInfo"),
    (13, "EfsRpcDuplicateEncryptionInfoFile"),
    (15, "EfsRpcAddUsersToFileEx"),
];

fn known(interface: Interface) -> Option<&'static (u128, &'static str, Operations)> {
    INTERFACES.iter().find(|(uuid, _, _)| *uuid == interface.0)
}

/// The interface's name.
pub(crate) fn name_of(interface: Interface) -> Option<&'static str> {
    known(interface).map(|(_, name, _)| *name)
}

/// The operation's name.
pub(crate) fn operation_of(interface: Interface, opnum: u16) -> Option<&'static str> {
    let (_, _, operations) = known(interface)?;
    operations.iter().find(|(number, _)| *number == opnum).map(|(_, name)| *name)
}

/// The interface by which objects are made on another host.
pub(crate) const ACTIVATOR: Interface = Interface(0x000001a0_0000_0000_c000_000000000046);

/// Classes whose objects run programs for whoever drives them (MITRE ATT&CK T1021.003), by their registered names.
const CLASSES: [(u128, &str); 8] = [
    (0x49b2791a_b1ae_4c90_9b8e_e860ba07f889, "MMC20.Application"),
    (0x9ba05972_f6a8_11cf_a442_00a0c90a8f39, "ShellWindows"),
    (0xc08afd90_f2a1_11d1_8455_00a0c91f3880, "ShellBrowserWindow"),
    (0x00024500_0000_0000_c000_000000000046, "Excel.Application"),
    (0x000209ff_0000_0000_c000_000000000046, "Word.Application"),
    (0x0006f03a_0000_0000_c000_000000000046, "Outlook.Application"),
    (0x3050f4d8_98b5_11cf_bb82_00aa00bdce0b, "htafile"),
    (0x72c24dd5_d70a_438b_8a42_98424b88afb8, "WScript.Shell"),
];

/// The first of these classes that is named in a request.
pub(crate) fn class_in(body: &[u8]) -> Option<&'static str> {
    body.windows(16).find_map(|uuid| {
        let Interface(class) = Interface::from_wire(uuid.first_chunk()?, true);
        CLASSES.iter().find(|(known, _)| *known == class).map(|(_, name)| *name)
    })
}
