# One structure (PDB, first model, heavy atoms of amino acids) to complexes: scripts/made_complexes.sh.

/^ENDMDL/ { exit }
/^ATOM/ && substr($0, 17, 1) ~ /[ A]/ && substr($0, 77, 2) !~ /H|D/ && substr($0, 13, 2) !~ /^[ 0-9]H/ {
    key = substr($0, 22, 6)
    if (key != last) { place[++residues] = key; last = key }
    line[++n] = $0
    of[n] = residues
    x[n] = substr($0, 31, 8); y[n] = substr($0, 39, 8); z[n] = substr($0, 47, 8)
    kind[n] = substr($0, 14, 1) ~ /[CS]/ ? "a" : "p"
}

# In one chain, without a gap.
function whole(from, to,   i) {
    for (i = from + 1; i <= to; i++)
        if (substr(place[i], 1, 1) != substr(place[i - 1], 1, 1) ||
            substr(place[i], 2, 4) + 0 != substr(place[i - 1], 2, 4) + 1) return 0
    return 1
}

END {
    limit["a"] = 25; limit["p"] = 12.25
    for (r = 2; r + 3 <= residues && made < 12; r += 7) {
        if (!whole(r - 1, r + 3)) continue
        a["a"] = a["p"] = 0
        id = name "_" r
        protein = id ".pdb"; ligand = id "_ligand.pdb"
        atoms = 0
        for (i = 1; i <= n; i++) if (of[i] >= r && of[i] <= r + 2) own[++atoms] = i
        for (k = 1; k <= atoms; k++) print line[own[k]] > (out "/" ligand)
        for (i = 1; i <= n; i++) {
            if (of[i] >= r && of[i] <= r + 2) continue
            if (of[i] == r - 1 || of[i] == r + 3) continue
            print line[i] > (out "/" protein)
            if ((x[i] - x[own[1]]) ^ 2 + (y[i] - y[own[1]]) ^ 2 + (z[i] - z[own[1]]) ^ 2 > 900) continue
            for (k = 1; k <= atoms; k++) {
                j = own[k]
                if (kind[i] != kind[j]) continue
                d = (x[i] - x[j]) ^ 2 + (y[i] - y[j]) ^ 2 + (z[i] - z[j]) ^ 2
                if (d < limit[kind[i]]) a[kind[i]]++
            }
        }
        close(out "/" protein); close(out "/" ligand)
        # A number between -0.5 and 0.5 that hangs on the place alone.
        noise = (r * 7919 + length(name) * 104729 + n * 31) % 1000 / 1000 - 0.5
        printf "%s,%s,%s,%.2f,%s\n", id, protein, ligand, 3 + 0.012 * a["a"] + 0.05 * a["p"] + noise, name
        made++
    }
}
