# How Zeek looks and writes.

@load base/frameworks/software
@load base/utils/site

# Offloading cards leave checksums to be filled in later; what is forged is the detections' matter.
redef ignore_checksums = T;
redef LogAscii::use_json = T;
# A connection that is silent for long is one connection still.
redef tcp_inactivity_timeout = 60min;
redef Software::asset_tracking = ALL_HOSTS;
redef Site::local_nets += {
	10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10, 169.254.0.0/16,
	[fc00::]/7, [fe80::]/10,
};
