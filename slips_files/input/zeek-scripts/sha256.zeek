# SHA-256 of every file, beside the MD5 and SHA-1 of hash-all-files.

@load base/files/hash

event file_new(f: fa_file)
	{
	Files::add_analyzer(f, Files::ANALYZER_SHA256);
	}
